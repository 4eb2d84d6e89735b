"""The command that does what is to be done beside the service."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import click

from genre.commands.refresh import STORE, absolute
from genre.commands.store import database_of

UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


@click.command()
@click.argument("run_folder", metavar="RUN", type=click.Path(path_type=Path))
@click.option("--store", "which", metavar="STORE", help=STORE)
@click.option("--only", metavar="KINDS", help="Kinds of jobs to do, with commas; else all.")
@click.option(
    "--every", metavar="KIND=TIME", multiple=True, help="Do a job regularly: refresh=1d, backup=6h, drift=15m."
)
@click.option("--publish", is_flag=True, help="Publish what a regular refresh makes, if its gate is open.")
@click.option(
    "--keep-slates", "days", metavar="DAYS", type=click.IntRange(min=1), help="Daily delete slates that are older."
)
@click.option(
    "--server", metavar="URL", help="The service that published models are handed to; its key is in GENRE_KEY."
)
@click.option("--lease", type=click.FloatRange(min=1), default=60.0, show_default=True, help="Seconds; see below.")
@click.option("--grace", type=click.FloatRange(min=0), default=30.0, show_default=True, help="Seconds; see below.")
@click.option("--once", is_flag=True, help="Do what waits now, and end.")
@click.option("--add", "kind", metavar="KIND", help="Queue a job and end.")
@click.option("--payload", metavar="JSON", default="{}", help='What that job is given: {"publish": true}.')
def worker(
    run_folder: Path,
    *,
    which: str | None,
    only: str | None,
    every: tuple[str, ...],
    publish: bool,
    days: int | None,
    server: str | None,
    lease: float,
    grace: float,
    once: bool,
    kind: str | None,
    payload: str,
) -> None:
    """Do the jobs of a RUN's store, one at a time, until told to stop.

    Kinds: backup, drift, embed (new items), evaluate, gate, prune (old slates), publish, refresh, rerank (lists made
    ahead). Each is done by a process of its own that leaves the processor to the service. Several workers share the
    jobs. A worker that says nothing for --lease seconds loses its job to another; one that is told to stop (Ctrl-C,
    SIGTERM) gives its job --grace seconds to finish, then hands it back. A job that fails is tried again, later each
    time, and then left with the reason.

    \b
      genre worker runs/live/quickstart --every refresh=1d --publish --server http://127.0.0.1:8080
      genre worker runs/quickstart --every embed=5m --every drift=1h --every backup=6h
      genre worker runs/quickstart --add refresh --payload '{"publish": true}'
      genre worker runs/quickstart --once
    """
    from genre.component import suggest
    from genre.errors import ConfigError
    from genre.jobs import kinds
    from genre.run import Run
    from genre.store import open_store
    from genre.worker import Worker

    Run.open(run_folder)
    plan, payloads = planned(every, publish, days)
    wanted = [word.strip() for word in only.split(",")] if only else kinds()
    for name in (*wanted, *plan, *([kind] if kind else [])):
        if name not in kinds():
            raise ConfigError([f"no job is called '{name}'; {suggest(name, kinds())}"])
    database, home = database_of(which or str(run_folder))
    with open_store(absolute(database, home), home) as store:
        if kind is not None:
            job = store.jobs.add(kind, payload_of(kind, payload))
            click.echo(f"job {job.number}: {job.kind} waits")
            return
        made = Worker(run_folder, store, wanted, server, plan, payloads, lease, grace, say=click.echo)
        made.listen()
        click.echo(f"worker {made.name}: {', '.join(wanted)} of {store.address}")
        made.run(once)


def planned(
    every: tuple[str, ...], publish: bool, days: int | None
) -> tuple[dict[str, float], dict[str, dict[str, Any]]]:
    """Seconds between two jobs of each kind that is done regularly, and what these are given. Raises `ConfigError`."""
    from genre.errors import ConfigError

    plan = dict(interval_of(one) for one in every)
    payloads: dict[str, dict[str, Any]] = {"refresh": {"publish": True}} if publish else {}
    if days is not None:
        plan.setdefault("prune", UNITS["d"])
        payloads["prune"] = {"days": days}
    elif "prune" in plan:
        raise ConfigError(["--every prune: how long are slates kept? Write --keep-slates DAYS"])
    return plan, payloads


def interval_of(text: str) -> tuple[str, float]:
    """A kind and its seconds, from ``refresh=1d``. Raises `ConfigError`."""
    from genre.errors import ConfigError

    found = re.fullmatch(r"(\w+)=(\d+(?:\.\d+)?)([smhd])", text.strip())
    if not found or not float(found[2]):
        raise ConfigError([f"--every {text}: write KIND=TIME with s, m, h or d, as in refresh=1d"])
    return found[1], float(found[2]) * UNITS[found[3]]


def payload_of(kind: str, text: str) -> dict[str, Any]:
    """What a job of a kind is given, from JSON. Raises `ConfigError`."""
    from genre.errors import ConfigError
    from genre.jobs import mistakes

    try:
        found = json.loads(text)
    except ValueError as error:
        raise ConfigError([f"--payload: no JSON ({error})"]) from error
    if not isinstance(found, dict):
        raise ConfigError(["--payload: write an object, as in {}"])
    if wrong := [f"--payload: {one.name} {one.mend}" for one in mistakes(kind, found)]:
        raise ConfigError(wrong)
    return found
