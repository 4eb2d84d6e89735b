"""The next model, from the last and what people did since."""

from __future__ import annotations

from typing import Any

from genre.jobs import RUN, Setting, Work

SETTINGS = {"run": RUN, "publish": Setting("switch", "Publish the new run if its gate is open.", "false")}


def do(work: Work) -> dict[str, Any]:
    """Refresh the run; with ``publish`` in the payload, a job that publishes it follows if the gate is open."""
    from genre.refresh.cycle import refresh
    from genre.refresh.log import of_store
    from genre.report import report
    from genre.run import Run
    from genre.store.backup import facts_of

    last, database = Run.open(work.run()), placed(work)
    done: list[str] = []

    def told(line: str) -> None:
        done.append(line)
        work.tell({"done": list(done)})

    made = refresh(last, lambda run, data: of_store(run, database), None, told, database)
    report(made.run.config, made.run)
    with work.store.access.reading() as connection:
        seq = facts_of(connection).last_seq
    name, gate = made.run.folder.name, made.result["gate"]
    if made.open and work.of("publish", False):
        work.store.jobs.add("publish", {"run": name}, key=f"publish:{name}")
    alarms = sorted({row["watched"] for row in made.result["drift"] if row["alarm"]})
    return {"run": name, "open": gate["open"], "gate": gate["sentence"], "drift": alarms, "last_seq": seq}


def placed(work: Work) -> Any:
    """The store's database by a path that holds wherever it is opened from."""
    from dataclasses import replace

    database: Any = work.store.database
    path = getattr(database, "path", None)
    return database if path is None else replace(database, path=(work.store.home / path).absolute())
