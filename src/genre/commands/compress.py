"""The command that makes the language model of a finished run smaller."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from genre.commands.arguments import open_run

TITLE = (
    "losses on test, with 95 % intervals; times in turn, medians [least, most] of the turns; cosine with the whole "
    "model's vectors, on texts not learned from"
)


@click.command()
@click.argument("config", metavar="RUN", type=click.Path(path_type=Path))
@click.option("--with", "asked", metavar="NAME", multiple=True, help="A form of compress.forms, or steps: a+b+c.")
@click.option("--budget", metavar="LIMITS", help="As in p99_ms=5,ndcg_loss=1%; the cheapest form within is chosen.")
def compress(config: Path, *, asked: tuple[str, ...], budget: str | None) -> None:
    """Make the language model of a RUN smaller and faster.

    Each form is measured: its size, its time, and what it loses in the measure of the task, with an interval. Forms are
    chosen on validation and told of on test. They lie in compress/ of it; recommend and predict take one (--form).
    A budget limits p99_ms, median_ms, mb, texts_per_s (at least), loss, or the loss of one measure, as ndcg_loss.

    \b
      genre compress runs/quickstart
      genre compress runs/quickstart --with ctranslate2 --with layer_drop+distill+ctranslate2
      genre compress runs/quickstart --budget "p99_ms=5, ndcg_loss=1%"
      genre recommend runs/quickstart --text "a film about trains" --form ctranslate2
    """
    opened = open_run(config, ())
    from genre.compression.stage import compress as work

    result = work(opened.config, opened, asked, budget, click.echo)
    show(result)
    click.echo(f"-> {opened.path('compress') / 'compress.json'}, compress.svg")


def show(result: dict[str, Any]) -> None:
    """The forms as a table, then which was chosen."""
    from rich import box
    from rich.table import Table

    from genre.commands.display import console

    table = Table(
        title=TITLE,
        box=box.SIMPLE_HEAD,
        title_justify="left",
    )
    measures = list(dict.fromkeys(key for form in result["forms"].values() for key in form["test"]))
    for column in (
        "form",
        "runs in",
        "MB",
        "ms a text",
        "p99",
        "texts/s",
        "cosine",
        *(f"loss of {key}" for key in measures),
    ):
        table.add_column(column, justify="left" if column in ("form", "runs in") else "right")
    for name, form in result["forms"].items():
        times = (_ranged(form, key, digits) for key, digits in (("median_ms", 2), ("p99_ms", 2), ("texts_per_s", 0)))
        sizes = (f"{form['mb']:.1f}", *times, f"{form['cosine']:.4f}")
        table.add_row(name, form["runtime"], *sizes, *(_loss(form["test"].get(key)) for key in measures))
    console().print(table)
    if "budget" not in result:
        return
    for name, why in result["broken"].items():
        if why:
            click.echo(f"{name} does not keep to the budget: {'; '.join(why)} (on validation)")
    chosen = result["chosen"]
    click.echo(f"chosen on validation: {chosen}" if chosen else "no form keeps to the budget")


def _ranged(form: dict[str, Any], key: str, digits: int) -> str:
    """A median of several turns, with the least and the most of them."""
    low, high = form["ranges"][key]
    return f"{form[key]:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


def _loss(found: dict[str, Any] | None) -> str:
    if found is None or found["loss"] is None:
        return "-"
    # A zero that was rounded from below shall not look like a gain.
    low, high = (round(edge, 3) + 0.0 for edge in found["ci95"] or (0.0, 0.0))
    between = "" if found["ci95"] is None else f" [{low:+.1%}, {high:+.1%}]"
    return f"{round(found['loss'], 4) + 0.0:+.2%}{between}"
