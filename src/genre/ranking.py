"""From scores to ranks and lists, with ties against the system."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from genre.types import Bools, Floats, Ints

Indices = NDArray[np.int64]


def ranks(scores: Floats, allowed: Bools, targets: Sequence[Ints]) -> list[Ints]:
    """Rank of every target of each unit among its allowed items, 1 the best: one array a unit, in the targets' order.

    An item scored as high as a target stands above it, so that a constant or sparse scorer gains nothing; targets of
    one unit stand in order of score among themselves, so that their ranks differ. A score that is not finite sinks
    below all others. Targets that are not allowed stand behind all items that are.
    """
    values = np.where(allowed & np.isfinite(scores), scores, -np.inf)
    owner = np.repeat(np.arange(len(targets)), [len(t) for t in targets])
    if not len(owner):
        return [np.zeros(0, dtype=np.int32) for _ in targets]
    items = np.concatenate([np.asarray(t) for t in targets])
    own = values[owner, items]
    inside = allowed[owner, items]
    at_least = _at_least(values, allowed, owner, own)
    # Fellow targets are counted by `at_least` too: leave them out, then put back those that are ahead.
    result = at_least.copy()
    starts = np.cumsum([0, *[len(t) for t in targets]])
    for i in np.flatnonzero(np.diff(starts) > 1):
        mine = slice(starts[i], starts[i + 1])
        result[mine] += _among_fellows(own[mine], inside[mine])
    outside = np.flatnonzero(~inside)
    fellows = np.arange(len(outside)) - np.searchsorted(owner[outside], owner[outside])
    result[outside] = allowed.sum(1)[owner[outside]] + 1 + fellows
    return np.split(result.astype(np.int32), starts[1:-1])


def _at_least(values: Floats, allowed: Bools, owner: Indices, own: Floats, block: int = 256) -> Indices:
    """For each target, how many allowed items are scored at least as high, itself among them."""
    counts = np.empty(len(owner), dtype=np.int64)
    for i in range(0, len(owner), block):
        rows = owner[i : i + block]
        counts[i : i + block] = ((values[rows] >= own[i : i + block, None]) & allowed[rows]).sum(1)
    return counts


def _among_fellows(own: Floats, inside: Bools) -> Indices:
    """Correction of each target's count of items at least as high, so that fellow targets come in order of score."""
    order = np.lexsort((np.arange(len(own)), -np.where(inside, own, -np.inf)))
    place = np.empty(len(own), dtype=np.int64)
    place[order] = np.arange(len(own))
    fellows_at_least = ((own[None, :] >= own[:, None]) & inside[None, :]).sum(1)
    return np.where(inside, place + 1 - fellows_at_least, 0)


def top_lists(scores: Floats, allowed: Bools, k: int) -> Ints:
    """The ``k`` best allowed items of each unit, best first, equal scores by item: ``[units, k]``, -1 where fewer."""
    values = np.where(allowed & np.isfinite(scores), scores, -np.inf)
    n = min(k, values.shape[1])
    part = np.argpartition(-values, n - 1, axis=1)[:, :n] if n < values.shape[1] else _all_columns(values)
    threshold = np.take_along_axis(values, part, 1).min(1)
    part = _settle_ties(values, part, threshold)
    chosen = np.take_along_axis(values, part, 1)
    order = np.lexsort((part, -chosen), axis=1)
    part, chosen = np.take_along_axis(part, order, 1), np.take_along_axis(chosen, order, 1)
    lists = np.where(np.isfinite(chosen), part, -1).astype(np.int32)
    return np.pad(lists, ((0, 0), (0, k - n)), constant_values=-1)


def _all_columns(values: Floats) -> Indices:
    return np.tile(np.arange(values.shape[1]), (len(values), 1))


def _settle_ties(values: Floats, part: Indices, threshold: Floats) -> Indices:
    """Where more items tie for the last places than there is room, take those that come first in the catalogue."""
    k = part.shape[1]
    crowded = np.flatnonzero((values >= threshold[:, None]).sum(1) > k)
    for i in crowded:
        better = np.flatnonzero(values[i] > threshold[i])
        tied = np.flatnonzero(values[i] == threshold[i])
        part[i] = np.concatenate([better, tied])[:k]
    return part
