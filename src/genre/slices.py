"""Parts of the test that are looked at apart: by length of history, popularity of the item, attributes of the user."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from genre.cases import Cases
from genre.types import Bools, Ints

if TYPE_CHECKING:
    import pyarrow as pa

FEWEST = 20
"""Cases below which a value of an attribute gets no slice of its own: its interval would say nothing."""
MOST_VALUES = 30
"""Distinct numbers up to which an attribute is taken as words; above, it is cut at its quartiles."""
LENGTHS = ((0, 0), (1, 5), (6, 20), (21, 50), (51, 100), (101, None))
COUNTS = ((1, 4), (5, 19), (20, None))
"""Interactions of an item in training; those of none are the cold items."""
SCARCE = 5
"""An item of fewer interactions than this says little of itself by them: what is known of it is mostly its text."""
AGES = ((None, 17), (18, 24), (25, 34), (35, 44), (45, 54), (55, None))


@dataclass(frozen=True)
class Slice:
    """Some cases, and within each the targets that count."""

    name: str
    rows: NDArray[np.int64]
    targets: list[Bools] | None = None
    """A mask over each case's targets; all count if None."""


def slices(cases: Cases, train_counts: Ints, users: pa.Table) -> Iterator[Slice]:
    """All slices of the test that hold any case."""
    made = [*_by_history(cases), *_by_item(cases, train_counts), *_by_user(cases, users)]
    return (one for one in made if len(one.rows))


def _by_history(cases: Cases) -> Iterator[Slice]:
    lengths = cases.histories.lengths
    for low, high in LENGTHS:
        inside = (lengths >= low) & (lengths <= (np.inf if high is None else high))
        yield Slice(f"user_history_{_span(low, high)}", np.flatnonzero(inside))


def _by_item(cases: Cases, counts: Ints) -> Iterator[Slice]:
    """By how often the item came in training: never, seldom, often; and by thirds of all training interactions."""
    yield _of_items("cold_items", cases, counts == 0)
    yield _of_items(f"item_interactions_under_{SCARCE}", cases, counts < SCARCE)
    for low, high in COUNTS:
        inside = (counts >= low) & (counts <= (np.inf if high is None else high))
        yield _of_items(f"item_interactions_{_span(low, high)}", cases, inside)
    order = np.argsort(-counts, kind="stable")
    shares = np.cumsum(counts[order]) / max(1, counts.sum())
    third = np.empty(len(counts), dtype=np.int64)
    third[order] = np.minimum(2, np.floor((shares - counts[order] / max(1, counts.sum())) * 3)).astype(np.int64)
    for i, name in enumerate(("item_popularity_head", "item_popularity_middle", "item_popularity_tail")):
        yield _of_items(name, cases, (third == i) & (counts > 0))


def _of_items(name: str, cases: Cases, chosen: Bools) -> Slice:
    masks = [chosen[items] for items in cases.targets]
    rows = np.array([i for i, mask in enumerate(masks) if mask.any()], dtype=np.int64)
    return Slice(name, rows, masks)


def _by_user(cases: Cases, users: pa.Table) -> Iterator[Slice]:
    for name in users.column_names:
        if name == "user_id":
            continue
        words = np.array(_words(name, users[name].to_pylist()), dtype=object)[cases.user]
        for word in sorted({word for word in words if word is not None}, key=_place):
            rows = np.flatnonzero(words == word)
            if FEWEST <= len(rows) < len(cases):
                yield Slice(f"{name}={word}", rows)


def _words(name: str, values: list[object]) -> list[str | None]:
    """An attribute as words; numbers of many values become ranges, ages the usual ones.

    Whole numbers that hardly repeat are names (postcodes, telephone numbers), of which ranges would mean nothing.
    """
    numbers = np.array([_number(value) for value in values])
    known = numbers[np.isfinite(numbers)]
    if not len(known) or len(known) < sum(value is not None for value in values):
        return [None if value is None or isinstance(value, list) else str(value) for value in values]
    if name == "age":
        return [_bucket(number, AGES) for number in numbers]
    distinct = len(np.unique(known))
    if distinct > len(known) / 2 and distinct > MOST_VALUES and (known == np.round(known)).all():
        return [None] * len(values)
    if distinct > MOST_VALUES:
        edges = np.unique(np.quantile(known, [0, 0.25, 0.5, 0.75, 1]))
        return [_quartile(number, edges) for number in numbers]
    return [f"{number:g}" if np.isfinite(number) else None for number in numbers]


def _number(value: object) -> float:
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return float("nan")


def _place(word: str) -> tuple[float, str]:
    """Ranges come in the order of their numbers, words in that of the alphabet."""
    numbers = re.findall(r"\d+(?:\.\d+)?", word)
    return (-1.0 if word.startswith("under") else float(numbers[0]) if numbers else 0.0, word)


def _bucket(number: float, spans: tuple[tuple[int | None, int | None], ...]) -> str | None:
    for low, high in spans:
        if (low is None or number >= low) and (high is None or number < high + 1):
            return _span(low, high)
    return None


def _quartile(number: float, edges: NDArray[np.float64]) -> str | None:
    if not np.isfinite(number):
        return None
    i = min(int(np.searchsorted(edges, number, side="right")) - 1, len(edges) - 2)
    return f"{edges[i]:g}..{edges[i + 1]:g}"


def _span(low: int | None, high: int | None) -> str:
    if low is None:
        return f"under_{(high or 0) + 1}"
    if high is None:
        return f"{low}_up"
    return f"{low}" if low == high else f"{low}_{high}"
