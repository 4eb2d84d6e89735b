"""The rerankers of a pipeline, one after another: lists in a new order, with what was moved, taken out and not kept."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from genre.data import Histories
from genre.errors import GenreError
from genre.ranking import top_lists
from genre.rerankers import ListReranker, Lists
from genre.retrieving import Trace
from genre.sources import Resources
from genre.types import Floats, Ints

Rerankers = Mapping[str, ListReranker]


def width_of(rerankers: Rerankers, k: int, most: int) -> int:
    """Places that a list must have for its first ``k`` to be right after the rerankers; ``most`` if one sees all."""
    tops = [one.top for one in rerankers.values()]
    if None in tops:
        return max(k, most)
    # One place more shows what the last one must stay above.
    return max([k, *(k + top + 1 for top in tops if top is not None)])


def arrange(
    rerankers: Rerankers, items: Ints, scores: Floats, histories: Histories, resources: Resources, trace: Trace
) -> tuple[Ints, Floats]:
    """Lists ``[b, n]``, best first, in a new order, with the same scores handed out anew so that they fall.

    Who has nothing moved keeps every score. Elsewhere equal scores are told apart by the smallest step there is, as the
    order is meant.
    """
    own, changed = scores, np.zeros(len(items), dtype=bool)
    for name, one in rerankers.items():
        with trace.timed(f"rerankers.{name}"):
            items, own, shift = _one(name, one, items, own, histories, resources, trace)
            changed |= (shift != 0).any(1)
    if not changed.any():
        return items, own
    handed = -np.sort(-own[changed], axis=1)
    reach = max(one.top or items.shape[1] for one in rerankers.values())
    for place in range(min(reach, handed.shape[1] - 1) - 1, -1, -1):
        above = np.nextafter(handed[:, place + 1], np.float32(np.inf))
        handed[:, place] = np.where(np.isfinite(handed[:, place]), np.maximum(handed[:, place], above), -np.inf)
    own = own.copy()
    own[changed] = handed
    return items, own


def arranged_table(
    rerankers: Rerankers, scores: Floats, histories: Histories, resources: Resources, trace: Trace
) -> Floats:
    """The same for scores of all items ``[b, items]``: those below the lists keep theirs, those taken out have -inf."""
    finite = np.isfinite(scores)
    width = min(width_of(rerankers, 0, int(finite.sum(1).max(initial=0))), scores.shape[1])
    if not width:
        return scores
    lists = top_lists(scores, finite, width)
    people, places = np.nonzero(lists >= 0)
    given = np.where(lists >= 0, np.take_along_axis(scores, np.maximum(lists, 0), 1), -np.inf).astype(np.float32)
    moved, handed = arrange(rerankers, lists, given, histories, resources, trace)
    final = scores.copy()
    final[people, lists[people, places]] = -np.inf
    people, places = np.nonzero(moved >= 0)
    final[people, moved[people, places]] = handed[people, places]
    return final


def check(rerankers: Rerankers, resources: Resources) -> None:
    """Ask each reranker of nobody, which tells columns that are not there. Raises `DataError`."""
    nothing = Lists(np.zeros((0, 0), dtype=np.int32), np.zeros((0, 0), dtype=np.float32))
    for one in rerankers.values():
        one.order(nothing, Histories.of_items([]), resources)


def _one(
    name: str, one: ListReranker, items: Ints, own: Floats, histories: Histories, resources: Resources, trace: Trace
) -> tuple[Ints, Floats, Ints]:
    """Items, the score of each, and by how many places it came up, after one reranker."""
    n = items.shape[1] if one.top is None else min(one.top, items.shape[1])
    head = Lists(items[:, :n], own[:, :n])
    made = one.order(head, histories, resources)
    order = np.asarray(made.order, dtype=np.int32)
    _insist(name, order, head)
    at, there = np.maximum(order, 0), order >= 0
    moved = np.where(there, np.take_along_axis(head.item, at, 1), -1)
    stays = np.zeros((len(items), n + 1), dtype=bool)
    np.put_along_axis(stays, np.where(there, order, n), True, axis=1)
    before = np.cumsum(stays[:, :n], axis=1) - 1
    shift = np.where(there, np.take_along_axis(before, at, 1) - np.arange(n), 0).astype(np.int32)
    trace.moved[name], trace.unmet[name] = (moved, shift), made.unmet
    taken = head.lengths - there.sum(1)
    if taken.any():
        trace.removed[name] = taken.astype(np.int32)
    items = np.concatenate([moved, items[:, n:]], axis=1).astype(np.int32)
    own = np.concatenate([np.where(there, np.take_along_axis(head.score, at, 1), -np.inf), own[:, n:]], axis=1)
    close = np.argsort(items < 0, axis=1, kind="stable")
    return np.take_along_axis(items, close, 1), np.take_along_axis(own, close, 1).astype(np.float32), shift


def _insist(name: str, order: Ints, head: Lists) -> None:
    """Raise `GenreError` where an order has a place twice, or one without an item."""
    n = head.item.shape[1]
    counts = np.zeros((len(order), n + 1), dtype=np.int32)
    good = order.shape == head.item.shape and bool((order < n).all())
    if good:
        np.add.at(counts, (np.arange(len(order))[:, None], np.where(order >= 0, order, n)), 1)
        good = bool((counts[:, :n] <= (head.item >= 0)).all())
    if not good:
        raise GenreError(f"reranker '{name}' gave an order that has an item twice, or one that is not in the list")
