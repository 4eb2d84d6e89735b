"""The top of a slate read again by a `cross` model, and how much its reading counts beside the score that retrieved."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from genre.cases import Cases
from genre.data import Histories
from genre.ranking import ranks, top_lists
from genre.types import Floats, Ints, Recommender

WEIGHTS = (0.0, 0.25, 0.5, 1.0, 2.0, 4.0, float("inf"))
"""Weights to choose from on validation; with 0 the reading changes nothing, with infinity it alone decides."""


@dataclass(frozen=True)
class Reranker:
    """Reads each person's best ``top`` items with their history, and orders those anew."""

    model: Recommender
    head: str
    top: int
    weight: float = 1.0

    def apply(self, scores: Floats, histories: Histories) -> Floats:
        """The same scores, those of each person's best ``top`` items handed out in another order."""
        lists = top_lists(scores, np.isfinite(scores), self.top)
        return self.blend(scores, lists, self.read(lists, histories))

    def read(self, lists: Ints, histories: Histories) -> Floats:
        """What the head says of each person and item, ``[people, top]``; NaN where there is no item."""
        said = np.full(lists.shape, np.nan, dtype=np.float32)
        people, places = np.nonzero(lists >= 0)
        if len(people):
            asked = histories.take(people)
            said[people, places] = self.model.predict(self.head, asked, lists[people, places].astype(np.int32))
        return said

    def blend(self, scores: Floats, lists: Ints, said: Floats) -> Floats:
        """The scores with the items of the lists put in the order of both, nothing moved in or out of the lists."""
        people, places = np.nonzero(lists >= 0)
        given = np.full(lists.shape, np.nan, dtype=np.float64)
        given[people, places] = scores[people, lists[people, places]]
        both = said if np.isinf(self.weight) else _standard(given) + self.weight * _standard(said)
        order = np.argsort(-np.where(np.isnan(both), -np.inf, both), axis=1, kind="stable")
        changed = scores.copy()
        moved = np.take_along_axis(lists, order, 1)
        changed[people, moved[people, places]] = given[people, places]
        return changed


def _standard(values: Any) -> Any:
    """Mean 0 and deviation 1 within each list; a constant one becomes 0."""
    with np.errstate(invalid="ignore"):
        centred = values - np.nanmean(np.where(np.isnan(values).all(1, keepdims=True), 0.0, values), 1, keepdims=True)
        deviation = np.sqrt(np.nanmean(np.where(np.isnan(centred).all(1, keepdims=True), 0.0, centred**2), 1))[:, None]
    return centred / np.where(deviation > 1e-9, deviation, np.inf)


def fit_reranker(reranker: Reranker, scores: Floats, cases: Cases) -> tuple[Reranker, dict[str, float]]:
    """The reranker with the weight that orders validation best, and NDCG@10 of every weight tried."""
    lists = top_lists(scores, np.isfinite(scores), reranker.top)
    said = reranker.read(lists, cases.histories)
    blended = {w: replace(reranker, weight=w).blend(scores, lists, said) if w else scores for w in WEIGHTS}
    tried = {weight: _ndcg(changed, cases) for weight, changed in blended.items()}
    best = max(tried, key=lambda weight: tried[weight])
    return replace(reranker, weight=best), {str(weight): value for weight, value in tried.items()}


def _ndcg(scores: Floats, cases: Cases, k: int = 10) -> float:
    values = []
    for found, targets in zip(ranks(scores, np.isfinite(scores), cases.targets), cases.targets, strict=True):
        gain = (1 / np.log2(found[found <= k] + 1)).sum()
        values.append(gain / (1 / np.log2(np.arange(min(k, len(targets))) + 2)).sum())
    return float(np.mean(values))
