"""Recommendations of a few users, before and after fine-tuning, in words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from genre.cases import Cases
from genre.data import Dataset, Histories
from genre.metrics import Ranking

Why = Callable[[Histories, int], str | None]
"""A sentence on why a system shows an item to a person, if there is one."""

LATEST = 8
"""Items of a history that are shown."""
PLACES = 10
"""Places of a list that are shown."""


def examples(
    data: Dataset, cases: Cases, rankings: dict[str, Ranking], n: int, seed: int, why: dict[str, Why] | None = None
) -> list[dict[str, Any]]:
    """Up to ``n`` cases with a history, drawn at random, not chosen: history, what came next, every system's list.

    Of systems that can say ``why``, the reason of the first item.
    """
    eligible = np.flatnonzero(cases.histories.lengths > 0)
    drawn = np.random.default_rng(seed).permutation(eligible)[:n]
    titles, users = _titles(data), data.users["user_id"].to_pylist()
    made = [_example(cases.take(np.array([row])), int(row), rankings, titles, users) for row in np.sort(drawn)]
    for row, example in zip(np.sort(drawn), made, strict=True):
        for name, say in (why or {}).items():
            first = int(rankings[name].lists[row][0])
            said = say(cases.histories.take(np.array([row])), first) if first >= 0 else None
            example["systems"][name] |= {"why": said} if said else {}
    return made


def _example(
    case: Cases, row: int, rankings: dict[str, Ranking], titles: list[str], users: list[str]
) -> dict[str, Any]:
    targets = {int(item) for item in case.targets[0]}
    found = {}
    for name, ranking in rankings.items():
        places = [int(item) for item in ranking.lists[row][:PLACES] if item >= 0]
        shown = [{"title": titles[item], "hit": item in targets} for item in places]
        found[name] = {"items": shown, "best_rank": int(ranking.ranks[row].min())}
    return {
        "user_id": users[case.user[0]],
        "history_length": int(case.histories.lengths[0]),
        "history": [titles[item] for item in case.histories.item[-LATEST:]],
        "next": [titles[item] for item in sorted(targets)],
        "systems": found,
    }


def _titles(data: Dataset) -> list[str]:
    """Each item's title, or its id where it has none."""
    ids = data.items["item_id"].to_pylist()
    titles = data.items["title"].to_pylist() if "title" in data.items.column_names else [None] * len(ids)
    return [title or item for title, item in zip(titles, ids, strict=True)]
