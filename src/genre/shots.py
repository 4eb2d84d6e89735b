"""A few examples of many, as even over the classes of a label as can be."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from genre.types import Floats, Ints

Rows = NDArray[np.int64]
MOST_CLASSES = 10
"""A label with more distinct values is an amount: what is evened out are its quarters."""
QUARTERS = (0.25, 0.5, 0.75)


def draw(label: Floats, shots: int, rng: np.random.Generator) -> Rows:
    """Up to ``shots`` of the rows of ``label``, sorted: each class in turn gives one until it has no more.

    Rows whose label is not known come last, when all others are taken.
    """
    group = classes(label)
    order = rng.permutation(len(label))
    turn = np.zeros(len(label), dtype=np.int64)
    for number in np.unique(group):
        mine = order[group[order] == number]
        turn[mine] = np.arange(len(mine))
    # Which classes get one more where shots do not divide evenly is drawn too.
    lot = rng.random(int(group.max(initial=0)) + 1)[np.maximum(group, 0)]
    taken = np.lexsort((lot, turn, group < 0))[:shots]
    return np.sort(taken).astype(np.int64)


def classes(label: Floats) -> Rows:
    """Number of each row's class; -1 where the label is not known."""
    known = ~np.isnan(label)
    values = np.unique(label[known])
    if len(values) > MOST_CLASSES:
        values = np.unique(np.quantile(label[known], QUARTERS))
        return np.where(known, np.searchsorted(values, label, side="left"), -1).astype(np.int64)
    return np.where(known, np.searchsorted(values, label), -1).astype(np.int64)


def draw_of_each(labels: list[Floats], source: Ints, shots: int, rng: np.random.Generator) -> Rows:
    """Up to ``shots`` rows, sorted, as many from each source as can be; of each the classes as `draw` says.

    What is evened out within a source is the first of ``labels`` that any of its rows has.
    """
    names, sizes = np.unique(source, return_counts=True)
    chosen: list[Rows] = []
    left = shots
    for place, at in enumerate(np.argsort(sizes, kind="stable")):
        mine = np.flatnonzero(source == names[at])
        unknown = np.full(len(mine), np.nan, dtype=np.float32)
        label = next((one[mine] for one in labels if not np.isnan(one[mine]).all()), unknown)
        chosen.append(mine[draw(label, left // (len(names) - place), rng)])
        left -= len(chosen[-1])
    return np.sort(np.concatenate([*chosen, np.zeros(0, dtype=np.int64)]))
