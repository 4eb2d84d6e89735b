"""Explanations on the terminal: a sentence for each item, and under it the numbers that it was made from."""

from __future__ import annotations

from collections.abc import Sequence

import click

from genre.commands.display import console, table_of
from genre.types import Carried, Explanation, Origin

MOST_EVENTS = 5
"""Events of the history that are printed for each item; the JSON has all."""
MOST_TERMS = 8
"""Terms of a score that are printed for each item; the JSON has all."""


def print_explanations(found: Sequence[Explanation]) -> None:
    """Why each item is in the slate: the sentence, what carried it, its sources, and the terms of its score."""
    out = console()
    for one in found:
        click.echo(click.style(f"{one.title} ({one.item_id})", bold=True))
        click.echo(f"  {one.sentence}")
        for note in one.notes:
            click.echo(f"  note: {note}")
        if one.carried:
            shown = table_of(f"score {one.score:.4f}; without each of", "history", "the score falls by", "rank becomes")
            for event in _largest(one.carried):
                shown.add_row(
                    event.title if event.item_id else f"text: {event.title}",
                    f"{event.change:+.4f}",
                    str(event.rank_without),
                )
            out.print(shown)
        sources = table_of("", "source", "place", "score", "weight", "adds")
        for origin in one.origins:
            sources.add_row(origin.source, *_cells(origin))
        out.print(sources)
        _print_terms(one)
    for name, why in (found[0].missing if found else {}).items():
        click.echo(f"{name} gave nothing: {why}")


def _largest(carried: list[Carried]) -> list[Carried]:
    """The events that change the score most, those that add before those that take away."""
    chosen = sorted(carried, key=lambda one: -abs(one.change))[:MOST_EVENTS]
    return sorted(chosen, key=lambda one: -one.change)


def _cells(origin: Origin) -> list[str]:
    numbers = [f"{one:.4f}" if one is not None else "-" for one in (origin.score, origin.weight, origin.adds)]
    return ["-" if origin.rank is None else str(origin.rank), *numbers]


def _print_terms(one: Explanation) -> None:
    """The terms of a score that are not those of the sources alone: what a learned scorer adds by its features."""
    trees = {name: value for name, value in one.terms.items() if name.startswith("trees: ")}
    if trees:
        shown = table_of(f"the trees start from {one.base:+.4f} and add", "column", "adds")
        for name, value in list(trees.items())[:MOST_TERMS]:
            shown.add_row(name.removeprefix("trees: "), f"{value:+.4f}")
        console().print(shown)
