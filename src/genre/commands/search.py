"""The command that tries values for what a configuration leaves open."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from genre.commands.arguments import config_arguments

if TYPE_CHECKING:
    from rich.table import Table

    from genre.configfile import Searched
    from genre.search.loop import Search, Standing

SHOWN = 12
"""Trials that the live table shows."""


@click.command()
@config_arguments
@click.option("--dry-run", is_flag=True, help="Show the space, how many points it has, and how long trials take.")
def search(config: Path, overrides: tuple[str, ...], *, dry_run: bool) -> None:
    """Try values for what CONFIG leaves open.

    In the file any value of model, train and pipeline may be {search: [1e-5, 1e-3], scale: log}, an interval, or
    {search: [lora, frozen]}, choices, which may hold searches themselves. How they are tried says the section search.
    Stopped at any moment, the same command goes on. The test part is read once, at the end, for the winner and the
    defaults. Writes search/ of the run: best.yaml, ready to run, search.html and search.json.

    \b
      genre search configs/search.yaml --dry-run
      genre search configs/search.yaml search.trials=60 search.workers=2
      genre run runs/search/search/best.yaml
    """
    from genre.configfile import read_space
    from genre.errors import GenreError

    found = read_space(config, overrides)
    if not found.space:
        raise GenreError(
            f"{config}: nothing is searched; write {{search: [1e-4, 1e-2], scale: log}} in the place of a value"
        )
    if importlib.util.find_spec("optuna") is None:
        raise GenreError("a search needs Optuna; pip install 'genre-recommender[tune]'")
    show_space(found)
    with _started(found) as made:
        # Of a search that is under way its own trials say how long the rest takes.
        if dry_run or not (made.home / "trials").exists():
            _estimate(made, found)
        if not dry_run:
            _search(made)


def show_space(found: Searched) -> None:
    """What may be tried, as a table."""
    from rich import box
    from rich.table import Table

    from genre.commands.display import console
    from genre.space import first_of

    table = Table(title="the space", box=box.SIMPLE_HEAD, title_justify="left")
    for column in ("value", "may be", "first", "only with"):
        table.add_column(column, overflow="fold")
    for one in found.space.parameters.values():
        first, needs = first_of(one), ", ".join(f"{name} {label}" for name, label in one.needs)
        table.add_row(one.name, one.words(), f"{first:.4g}" if isinstance(first, float) else str(first), needs)
    console().print(table)
    count = found.space.count()
    click.echo("points: without end" if math.isinf(count) else f"points: {count:.0f}")


@contextmanager
def _started(found: Searched) -> Iterator[Search]:
    """The search with its workers, which are ended whatever happens."""
    import os

    from genre.run import Run
    from genre.search.crew import LocalWorkers
    from genre.search.loop import Search

    n = found.config.search.workers
    # Several that each take all cores would only wait for each other.
    workers = LocalWorkers(n, threads=max(1, (os.cpu_count() or 1) // n) if n > 1 else None)
    try:
        yield Search(found.config, Run.create(found.config), found.space, workers, click.echo)
    finally:
        workers.close()


def _estimate(made: Search, found: Searched) -> None:
    """Say how long the trials take, from a few steps of the defaults."""
    from genre.search.crew import Work

    made.ready()
    arguments = {"values": made.document(found.space.of({}).values, made.config.seed), "folder": str(made.home)}
    news = made.work_off([Work("defaults", "genre.search.trial:estimate", arguments, made.home / "log.txt")], "tried:")
    told = news["defaults"]
    if told.kind != "done":
        click.echo(f"no estimate: {told.data.get('reason')}")
        return
    one, budget, minutes = told.data["seconds"], made.budget(), made.section.minutes
    click.echo(f"a trial of the defaults: at most {told.data['epochs']} epochs, about {one:.0f} seconds")
    total = one * budget / made.section.workers / 60
    limit = "" if minutes is None else f"; none begins after {minutes:g} minutes"
    click.echo(f"{budget} trials: at most about {total:.1f} minutes, less what stops early{limit}")
    again = (made.section.leaders + 1) * made.section.repeats + 2
    rest = one * again / made.section.workers / 60
    click.echo(f"then {again} trainings of the leaders and the defaults: about {rest:.1f} minutes; and the baselines")


def _search(made: Search) -> None:
    from genre.search.ending import Ending
    from genre.search.report import write_page
    from genre.search.rivals import rivals_first

    rivals_first(made)
    with _live() as show:
        made.show = show
        trials = made.run_trials()
    result = Ending(made, trials).conclude()
    write_page(result, made.home)
    print_result(result)
    for name in ("best.yaml", "search.html", "search.json"):
        click.echo(f"{made.home / name}")


def print_result(result: dict[str, Any]) -> None:
    """The best trials, the verdict, and what the test says."""
    from genre.commands.display import console

    console().print(_result_table(result))
    saved = result["saved"]
    if saved["stopped"]:
        click.echo(
            f"{saved['stopped']:.0f} trials were stopped early, which saved about {saved['epochs_saved']:.0f} epochs"
        )
    for name, share in list(result["importances"].items())[:5]:
        click.echo(f"  {name}: {share:.0%} of what differs between trials")
    click.echo(result["verdict"]["sentence"])
    for found in result["test"]["comparisons"]:
        low, high = found["ci95"]
        what = f"on test, {found['system']} {found['metric']}: winner less defaults {found['difference']:+.4f}"
        click.echo(f"{what} [{low:+.4f}, {high:+.4f}], {found['verdict']}")


def _result_table(result: dict[str, Any]) -> Table:
    from rich import box
    from rich.table import Table

    objectives = list(result["objectives"])
    larger = result["objectives"][objectives[0]]
    table = Table(title="the best trials", box=box.SIMPLE_HEAD, title_justify="left")
    for column in ("trial", *objectives, "again, mean of seeds", "values"):
        table.add_column(column, overflow="fold")
    done = [row for row in result["trials"] if row["state"] == "complete"]
    done.sort(key=lambda row: -row["values"][objectives[0]] if larger else row["values"][objectives[0]])
    for row in done[:SHOWN]:
        again = result["repeats"].get(str(row["number"]))
        mark = " (defaults)" if row["number"] == result["defaults"] else ""
        mark += " *" if row["number"] == result["verdict"]["winner"] else ""
        chosen = ", ".join(f"{n} {v:.4g}" if isinstance(v, float) else f"{n} {v}" for n, v in row["chosen"].items())
        values = [f"{row['values'][one]:.4f}" for one in objectives]
        table.add_row(f"{row['number']}{mark}", *values, f"{again['mean']:.4f}" if again else "", chosen)
    return table


@contextmanager
def _live() -> Iterator[Callable[[Standing], None]]:
    """A table that changes with the search, on a terminal; elsewhere the lines of the trials are enough."""
    from rich.console import Console
    from rich.live import Live

    out = Console(stderr=True)
    if not out.is_terminal:
        yield lambda standing: None
        return
    with Live(console=out, refresh_per_second=4, transient=True) as live:
        yield lambda standing: live.update(live_table(standing))


def live_table(standing: Standing) -> Table:
    """The latest trials and those under way, with what is left."""
    from rich import box
    from rich.table import Table

    from genre.search.outcomes import outcome

    ended = sum(one.state.is_finished() for one in standing.trials)
    left = "" if standing.seconds_left is None else f", about {standing.seconds_left / 60:.1f} minutes left"
    title = f"{standing.doing}: {ended} of {standing.budget}{left}"
    table = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left")
    for column in ("trial", "came to", "values"):
        table.add_column(column, overflow="fold")
    begun = [one for one in standing.trials if one.state.name != "WAITING"]
    for one in begun[-SHOWN:]:
        if one.state.is_finished():
            said = outcome(one, standing.objectives)
        else:
            epochs, value = standing.running.get(one.number, (0, None))
            said = f"epoch {epochs}" + ("" if value is None else f", {value:.4f}")
        table.add_row(str(one.number), said, standing.texts.get(one.number, ""))
    return table
