"""From scores to ranks and lists, with ties against the system."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from genre.types import Bools, Floats, Ints

Indices = NDArray[np.int64]

CELLS = 1 << 19
"""Scores that are worked on at a time: two megabytes, which stay in the processor's cache while they are read again."""

Hide = Callable[[Floats, slice], None]
"""Writes -inf over what is not ranked, into the values of some rows."""


def ranks(scores: Floats, allowed: Bools, targets: Sequence[Ints]) -> list[Ints]:
    """Rank of every target of each unit among its allowed items, 1 the best: one array a unit, in the targets' order.

    An item scored as high as a target stands above it, so that a constant or sparse scorer gains nothing; targets of
    one unit stand in order of score among themselves, so that their ranks differ. A score that is not finite sinks
    below all others. Targets that are not allowed stand behind all items that are.
    """
    owner, items = _pairs(targets)
    inside = allowed[owner, items]
    found, _ = _rank(scores, _where_not(allowed), owner, items, inside, allowed.sum(1), 0)
    return np.split(found, np.cumsum([len(one) for one in targets])[:-1])


def top_lists(scores: Floats, allowed: Bools, k: int) -> Ints:
    """The ``k`` best allowed items of each unit, best first, equal scores by item: ``[units, k]``, -1 where fewer."""
    none = np.zeros(0, dtype=np.int64)
    return _rank(scores, _where_not(allowed), none, none, none.astype(bool), none, k)[1]


def ranks_and_lists(
    scores: Floats, hidden: sparse.csr_matrix, targets: Sequence[Ints], k: int
) -> tuple[list[Ints], Ints, Ints]:
    """`ranks` and `top_lists` of all items but the ``hidden`` ones, and how many are ranked: each score is read once.

    ``hidden`` is ``[units, items]`` without duplicates; few of it are set, and no array of the scores' size is made.
    """
    n = scores.shape[1]
    rows = np.repeat(np.arange(len(scores)), np.diff(hidden.indptr))
    owner, items = _pairs(targets)
    inside = ~np.isin(owner * n + items, rows * n + hidden.indices)
    sizes = n - np.diff(hidden.indptr)

    def hide(values: Floats, at: slice) -> None:
        mine = slice(hidden.indptr[at.start], hidden.indptr[at.stop])
        values[rows[mine] - at.start, hidden.indices[mine]] = -np.inf

    found, lists = _rank(scores, hide, owner, items, inside, sizes, k)
    return np.split(found, np.cumsum([len(one) for one in targets])[:-1]), lists, sizes.astype(np.int32)


def _pairs(targets: Sequence[Ints]) -> tuple[Indices, Indices]:
    owner = np.repeat(np.arange(len(targets)), [len(one) for one in targets])
    return owner, np.concatenate([*targets, np.zeros(0, dtype=np.int64)]).astype(np.int64)


def _where_not(allowed: Bools) -> Hide:
    return lambda values, at: np.copyto(values[:, : allowed.shape[1]], -np.inf, where=~allowed[at])


def _rank(
    scores: Floats, hide: Hide, owner: Indices, items: Indices, inside: Bools, sizes: Indices, k: int
) -> tuple[Ints, Ints]:
    """Ranks of the targets, and lists: one pass over the scores, a few rows at a time."""
    lists = np.full((len(scores), k), -1, dtype=np.int32)
    own, above = np.empty(len(owner), dtype=np.float32), np.empty(len(owner), dtype=np.int64)
    for at, values, peaks in _blocks(scores, hide, k):
        if k:
            lists[at] = _lists(values, peaks, k)
        mine = slice(*np.searchsorted(owner, [at.start, at.stop]))
        rows = owner[mine] - at.start
        own[mine] = values[rows, items[mine]]
        above[mine] = _at_least(values, rows, own[mine])
    # What is not ranked is not above anything: it counts where a target has sunk as low as that.
    sunk = np.isneginf(own)
    above[sunk] = sizes[owner[sunk]]
    found = above + np.where(inside, _among_fellows(owner, own, inside), 0)
    outside = np.flatnonzero(~inside)
    fellows = np.arange(len(outside)) - np.searchsorted(owner[outside], owner[outside])
    found[outside] = sizes[owner[outside]] + 1 + fellows
    return found.astype(np.int32), lists


def _blocks(scores: Floats, hide: Hide, k: int) -> Iterator[tuple[slice, Floats, Floats]]:
    """Some rows at a time: which, their values (-inf for what is hidden or not finite), the peaks of their groups.

    The values are a buffer that the next rows will be written to. Its last columns may be -inf beyond the items.
    """
    n = scores.shape[1]
    # More groups bring the peaks nearer to the best values; with fewer the peaks cost less.
    width = 1 << max(0, (n // max(128, 4 * k)).bit_length() - 1)
    columns = -(-n // width) * width
    size = max(1, CELLS // max(1, columns))
    buffer = np.full((min(size, len(scores)), columns), -np.inf, dtype=np.float32)
    for start in range(0, len(scores), size):
        at = slice(start, min(start + size, len(scores)))
        values = buffer[: at.stop - start]
        values[:, :n] = scores[at]
        hide(values, at)
        peaks = _peaks(values, width)
        if not (peaks < np.inf).all():
            values[~np.isfinite(values)] = -np.inf
            peaks = _peaks(values, width)
        yield at, values, peaks


def _peaks(values: Floats, width: int) -> Floats:
    """The highest of groups of ``width`` values, a power of two: each half of the columns laid over the other."""
    while width > 1:
        half = values.shape[1] // 2
        values, width = np.maximum(values[:, :half], values[:, half:]), width // 2
    return values


def _lists(values: Floats, peaks: Floats, k: int) -> Ints:
    """The best ``k`` of each row. What is below the k-th highest peak is not among them, so that few are sorted."""
    least = np.partition(peaks, -k, axis=1)[:, -k] if k < peaks.shape[1] else np.full(len(values), -np.inf, np.float32)
    # A peak of -inf would let everything pass that is not ranked.
    least = np.maximum(least, np.finfo(np.float32).min)
    row, item = np.divmod(np.flatnonzero(values >= least[:, None]), values.shape[1])
    counts = np.bincount(row, minlength=len(values))
    place = np.arange(len(row)) - np.repeat(np.cumsum(counts) - counts, counts)
    few = max(k, int(counts.max(initial=0)))
    best, which = np.full((len(values), few), -np.inf, dtype=np.float32), np.full((len(values), few), -1, np.int32)
    best[row, place], which[row, place] = values[row, item], item
    order = np.argsort(-best, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(which, order, 1)


def _at_least(values: Floats, rows: Indices, own: Floats) -> Indices:
    """How many values of each of the ``rows`` are at least as high as ``own``."""
    counts = np.empty(len(rows), dtype=np.int64)
    # Eight answers of a byte each are counted as one number.
    words = -(-values.shape[1] // 8)
    answers = np.zeros((min(len(values), max(1, len(rows))), 8 * words), dtype=bool)
    for i in range(0, len(rows), len(answers)):
        some = rows[i : i + len(answers)]
        whole = len(some) == len(values) and bool((some == np.arange(len(values))).all())
        left, right = values if whole else values[some], own[i : i + len(answers), None]
        np.greater_equal(left, right, out=answers[: len(some), : values.shape[1]])
        found = np.bitwise_count(answers[: len(some)].view(np.uint64))
        counts[i : i + len(answers)] = found.sum(1, dtype=np.uint32)
    return counts


def _among_fellows(owner: Indices, own: Floats, inside: Bools) -> Indices:
    """Correction of each target's count of items at least as high, so that fellow targets come in order of score.

    Fellows that are as high are counted too: all are left out, then those that are ahead are put back.
    """
    order = np.lexsort((np.arange(len(own)), ~inside, -own, owner))
    sorted_owner, sorted_own, sorted_inside = owner[order], own[order], inside[order]
    new = np.ones(len(order), dtype=bool)
    new[1:] = (
        (sorted_owner[1:] != sorted_owner[:-1])
        | (sorted_own[1:] != sorted_own[:-1])
        | (sorted_inside[1:] != sorted_inside[:-1])
    )
    starts = np.flatnonzero(new)
    ends = np.append(starts[1:], len(order))[np.cumsum(new) - 1]
    correction = np.empty(len(order), dtype=np.int64)
    correction[order] = np.arange(len(order)) + 1 - ends
    return correction
