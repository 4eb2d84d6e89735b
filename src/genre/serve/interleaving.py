"""Interleaving: one slate of two models, and which of them its readers prefer.

Every reader compares both models, so that it takes far fewer of them than an A/B test to see which is better. Team
draft: Radlinski, Kurup and Joachims (2008), "How does clickthrough data reflect retrieval quality?".
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from genre.serve.arranging import Shown
from genre.store.records import SlateRow

RESAMPLES = 2000
MIXED = "mixed"
"""What stands for the arm of a slate of both."""


def team_draft(first: Sequence[Shown], second: Sequence[Shown], names: tuple[str, str], k: int) -> list[Shown]:
    """At most ``k`` items: whoever has fewer picks next, a coin decides between equals, each its best that is left."""
    lists, picked, made = (list(first), list(second)), [0, 0], []
    had: set[str] = set()
    while len(made) < k:
        nexts = [next((one for one in some if one["item_id"] not in had), None) for some in lists]
        if nexts == [None, None]:
            return made
        turn = int(picked[0] > picked[1]) if picked[0] != picked[1] else random.getrandbits(1)
        team = turn if nexts[turn] is not None else 1 - turn
        item = nexts[team]
        assert item is not None
        picked[team] += 1
        had.add(item["item_id"])
        made.append({**item, "team": names[team]})
    return made


@dataclass(frozen=True)
class Preference:
    """Which of two models people chose from."""

    first: str
    second: str
    units: int
    """Users who chose anything."""
    wins: tuple[int, int]
    """Slates in which more of the one's items were chosen, and of the other's."""
    ties: int
    preference: float | None
    """Share of the slates that the second won, ties half, less one half: above 0 the second is preferred."""
    ci95: tuple[float, float] | None
    """Bootstrap over users; None for fewer than two."""
    verdict: str
    """``better`` (the second), ``worse`` or ``no difference`` (the interval holds 0)."""


def preferred(names: tuple[str, str], answers: Sequence[tuple[SlateRow, str]], seed: int = 7) -> Preference:
    """From each answer to a slate, with the item that it was about. An item counts once a slate."""
    chosen: dict[str, set[str]] = defaultdict(set)
    slates = {slate.slate_id: slate for slate, _ in answers}
    for slate, item in answers:
        chosen[slate.slate_id].add(item)
    units: dict[str, list[float]] = defaultdict(list)
    wins, ties = [0, 0], 0
    for slate_id, items in chosen.items():
        teams = [one.get("team") for one in slates[slate_id].items if one["item_id"] in items]
        counts = [teams.count(name) for name in names]
        if counts == [0, 0]:
            continue
        lead = int(np.sign(counts[1] - counts[0]))
        ties += lead == 0
        wins[0] += lead < 0
        wins[1] += lead > 0
        units[slates[slate_id].user_id or slate_id].append(lead / 2)
    value, ci = _interval(list(units.values()), seed)
    verdict = "no difference" if ci is None or ci[0] <= 0 <= ci[1] else "better" if ci[0] > 0 else "worse"
    return Preference(*names, len(units), (wins[0], wins[1]), ties, value, ci, verdict)


def _interval(units: list[list[float]], seed: int) -> tuple[float | None, tuple[float, float] | None]:
    """The mean over all slates, and its interval; a user's slates are drawn together (ratio of sums)."""
    if not units:
        return None, None
    sums = np.array([(sum(one), len(one)) for one in units], dtype=np.float64)
    value = float(sums[:, 0].sum() / sums[:, 1].sum())
    if len(units) < 2:
        return value, None
    kinds, counts = np.unique(sums, axis=0, return_counts=True)
    weights: Any = np.random.default_rng(seed).multinomial(len(units), counts / len(units), RESAMPLES)
    low, high = np.quantile((weights @ kinds[:, 0]) / (weights @ kinds[:, 1]), [0.025, 0.975])
    return value, (float(low), float(high))
