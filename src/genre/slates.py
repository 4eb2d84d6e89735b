"""From what was found for a block of people to their slates, with what happened on the way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from genre.data import Histories
from genre.retrieving import Trace
from genre.types import Candidate, Floats, Ints, Query, Recommender, Slate

Predictions = Mapping[str, Mapping[tuple[int, int], float]]
"""By head, what it says of a person of the block and an item."""


def slate_of(
    query: Query,
    person: int,
    item_ids: list[str],
    rows: Ints,
    scores: Floats,
    predictions: Predictions,
    trace: Trace,
    seconds: Mapping[str, float],
) -> Slate:
    """The slate of one ``person`` of the block: the items of ``rows`` in their order."""
    ranks = trace.ranks(person)
    items = [
        Candidate(
            item_ids[row],
            score,
            {name: of[row] for name, of in ranks.items() if row in of},
            {head: values[person, row] for head, values in predictions.items()},
        )
        for row, score in zip(rows.tolist(), scores.tolist(), strict=False)
    ]
    removed = {name: int(counts[person]) for name, counts in trace.removed.items()}
    moved = {
        name: {item_ids[row]: up for row, up in of.items() if row in rows} for name, of in trace.shifts(person).items()
    }
    return Slate(query, items, removed, trace.skipped(person), dict(seconds), moved, trace.told(person))


def predicted(
    model: Recommender | None, heads: Sequence[str], histories: Histories, lists: Sequence[Ints], trace: Trace
) -> Predictions:
    """What every head says of the items of each person's list; one that raises is named in the trace and left out."""
    owner = np.repeat(np.arange(len(lists), dtype=np.int32), [len(one) for one in lists])
    if model is None or not len(owner):
        return {}
    items = np.concatenate(lists).astype(np.int32)
    pairs = list(zip(owner.tolist(), items.tolist(), strict=True))
    said: dict[str, dict[tuple[int, int], float]] = {}
    for head in heads:
        try:
            said[head] = dict(zip(pairs, model.predict(head, histories, items, owner).tolist(), strict=True))
        except Exception as error:
            trace.failed_heads[head] = f"{type(error).__name__}: {error}"
    return said
