"""The commands that make the next model, publish it, and watch for drift."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from genre.commands.store import database_of, opened

if TYPE_CHECKING:
    from genre.refreshsection import RefreshSection

STORE = "Where the events are; a run's folder, a file of SQLite or postgresql://...; else the store of the run."
DAY = 86400.0


@click.command()
@click.argument("run_folder", metavar="RUN", type=click.Path(path_type=Path))
@click.argument("settings", metavar="[SETTING=VALUE]...", nargs=-1)
@click.option("--store", "which", metavar="STORE", help=STORE)
@click.option(
    "--log", type=click.Path(path_type=Path), help="New events from a file instead: CSV, JSON lines, Parquet."
)
@click.option("--items", type=click.Path(path_type=Path), help="New items, beside a --log.")
@click.option("--users", type=click.Path(path_type=Path), help="New users, beside a --log.")
def refresh(
    run_folder: Path,
    *,
    settings: tuple[str, ...],
    which: str | None,
    log: Path | None,
    items: Path | None,
    users: Path | None,
) -> None:
    """Make the next run from a finished RUN and what people did since.

    Training goes on from the last model on the new events, with some of the old. The new run, RUN-2 and so on, lies
    beside the old one, which stays as it is. Both are measured on the newest events, held out, and on the old test.
    Exit status 3 says that the gate is shut: the new model is not to be published. Stopped, it goes on where it was.
    SETTING=VALUE changes one of the section refresh of the configuration.

    \b
      genre refresh runs/quickstart
      genre refresh runs/quickstart --store postgresql://genre@db.local/genre replay=0.5
      genre refresh runs/quickstart --log july.csv --items new_items.csv
    """
    from genre.data import Dataset
    from genre.datasets import Reading
    from genre.refresh.cycle import refresh as work
    from genre.refresh.log import of_file, of_store
    from genre.report import report
    from genre.run import Run

    if (items or users) and log is None:
        raise click.UsageError("--items and --users go with --log; of a store they are known")
    if log and which:
        raise click.UsageError("--log and --store exclude each other")
    last = Run.open(run_folder)
    section = changed_by(last.config.refresh, settings)
    database, home = database_of(which or str(run_folder))
    placed = absolute(database, home)

    def read(run: Run, data: Dataset) -> Reading:
        return of_store(run, placed) if log is None else of_file(run, data, log, items, users)

    made = work(last, read, section, click.echo, None if log else placed)
    report(made.run.config, made.run)
    show(made.result["drift"])
    click.echo(f"-> {made.run.folder}")
    if not made.open:
        raise click.exceptions.Exit(3)
    click.echo(f"to let it take over: genre publish {made.run.folder}")


@click.command()
@click.argument("run_folder", metavar="RUN", type=click.Path(path_type=Path))
@click.option("--server", metavar="URL", help="Let the service there load and activate it; its key is in GENRE_KEY.")
@click.option("--force", is_flag=True, help="Publish what the gate does not let pass.")
def publish(run_folder: Path, *, server: str | None, force: bool) -> None:
    """Let a refreshed RUN take the place of the one that it came from.

    Checks every file, and what the gate said. Then runs/live/NAME points to it, in one move; 'genre serve
    runs/live/NAME' starts with it from then on. A service that is named changes over without a break, and refuses a
    model that is worse or damaged: then nothing has changed.

    \b
      genre publish runs/quickstart-2
      genre publish runs/quickstart-2 --server http://127.0.0.1:8080
    """
    from genre.refresh.publishing import publish as work
    from genre.run import Run

    link = work(Run.open(run_folder), server, force)
    click.echo(f"{link} -> {link.resolve()}")


@click.command()
@click.argument("run_folder", metavar="RUN", type=click.Path(path_type=Path))
@click.option("--store", "which", metavar="STORE", help=STORE)
@click.option(
    "--days", type=click.FloatRange(min=0, min_open=True), default=7.0, show_default=True, help="What is now."
)
@click.option("--clicks", metavar="ACTIONS", default="", help="Actions that count as clicks, with commas; else any.")
def drift(run_folder: Path, *, which: str | None, days: float, clicks: str) -> None:
    """Say whether what comes in and goes out is still what it was.

    The newest days of the store beside what was before, or, where that is little, beside the log of the RUN: items,
    actions, texts, pace of people, clicks, scores; and people who are likely none. Alarms go to the audit of the store
    too. Writes drift/drift.json and drift.svg of the run; exit status 3 says that there is an alarm.

    \b
      genre drift runs/quickstart
      genre drift runs/quickstart --days 1 --clicks click,purchase
    """
    from genre.refresh.driftwatch import watch
    from genre.run import Run

    run = Run.open(run_folder)
    with opened(which or str(run_folder)) as store:
        found = watch(run, store, days, [word.strip() for word in clicks.split(",") if word.strip()])
    show(found["rows"])
    click.echo(f"-> {run.path('drift') / 'drift.json'}, drift.svg; {found['told']} new alarms in the audit")
    if any(row["alarm"] for row in found["rows"]):
        raise click.exceptions.Exit(3)


def changed_by(section: RefreshSection, settings: tuple[str, ...]) -> RefreshSection:
    """The section with some settings changed, as ``NAME=VALUE`` in YAML. Raises `ConfigError` naming the setting."""
    import yaml
    from pydantic import TypeAdapter, ValidationError

    from genre.component import suggest
    from genre.errors import ConfigError
    from genre.refreshsection import RefreshSection

    plain: dict[str, Any] = TypeAdapter(RefreshSection).dump_python(section, mode="json")
    for setting in settings:
        name, equals, value = setting.removeprefix("refresh.").partition("=")
        if not equals or name not in plain or name == "start":
            raise ConfigError([f"{setting}: write SETTING=VALUE; {suggest(name, list(plain))}"])
        plain[name] = yaml.safe_load(value)
    try:
        return TypeAdapter(RefreshSection).validate_python(plain)
    except ValidationError as error:
        wrong = [f"refresh.{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()]
        raise ConfigError(wrong) from error


def absolute(database: Any, home: Path) -> Any:
    """The database by a path that holds wherever it is opened from."""
    from dataclasses import replace

    path = getattr(database, "path", None)
    return database if path is None else replace(database, path=(home / path).absolute())


def show(rows: list[dict[str, Any]]) -> None:
    """What the detectors said, as a table."""
    from rich import box
    from rich.table import Table

    from genre.commands.display import console

    table = Table(title="drift", box=box.SIMPLE_HEAD, title_justify="left")
    for column in ("what is watched", "before", "now", "detector", "alarm", "why"):
        table.add_column(column, justify="right" if column in ("before", "now") else "left")
    for row in rows:
        said = "-" if row["alarm"] is None else "yes" if row["alarm"] else "no"
        who = f" ({', '.join(row['people'])})" if row.get("people") else ""
        table.add_row(row["watched"], str(row["before"]), str(row["now"]), row["detector"], said, row["why"] + who)
    console().print(table)
