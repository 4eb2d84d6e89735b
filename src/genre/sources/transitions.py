"""What followed what."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from pydantic import NonNegativeFloat, PositiveInt
from scipy import sparse

from genre.component import component
from genre.data import Histories, Log
from genre.sources import Resources
from genre.types import Floats, State


@component
class Transitions:
    """Counts of the items that came soon after a person's latest ones: order and nothing else, in no time to fit.

    Surprisingly strong wherever order matters; `item_knn` looks at the whole history without order. Popularity breaks
    ties, and answers people without a history.
    """

    top_k: PositiveInt = 300
    """Candidates to retrieve; more miss less and cost time."""
    lags: PositiveInt = 3
    """Steps between two items that still count as following, each for 1 / steps; larger is denser and vaguer."""
    power: NonNegativeFloat = 0.5
    """Counts are divided by the follower's popularity to this power; larger prefers rare items."""
    shrink: NonNegativeFloat = 5.0
    """Added to the popularity; larger trusts rare items less."""
    window: PositiveInt = 1
    """Latest items looked at, each for half of the next later one; larger looks further back."""
    GRID: ClassVar[dict[str, list[Any]]] = {"lags": [1, 3, 6], "power": [0.0, 0.25, 0.5], "window": [1, 3, 6]}

    def fit(self, log: Log, resources: Resources) -> State:
        rows = log.where(log.positive)
        pairs = [self._lag(rows, lag) for lag in range(1, self.lags + 1)]
        followed = sum(pairs[1:], pairs[0])
        counts = np.bincount(rows.item, minlength=log.n_items).astype(np.float32)
        scale = sparse.diags_array((counts + max(self.shrink, 1e-6)) ** -self.power)
        popular = counts / (counts.sum() * 1e3 + 1)
        return {"followed": sparse.csr_matrix(followed @ scale, dtype=np.float32), "popular": popular}

    def _lag(self, rows: Log, lag: int) -> sparse.csr_matrix:
        same = rows.user[lag:] == rows.user[:-lag] if len(rows) > lag else np.zeros(0, dtype=bool)
        first, then = rows.item[: len(same)][same], rows.item[lag:][same]
        weights = np.full(len(first), 1 / lag, dtype=np.float32)
        return sparse.csr_matrix((weights, (first, then)), shape=(rows.n_items, rows.n_items))

    def score(self, state: State, histories: Histories, resources: Resources) -> Floats:
        recent = histories.latest(self.window)
        n_items = state["followed"].shape[0]
        weights = np.exp2(-recent.age.astype(np.float32))
        latest = sparse.csr_matrix((weights, (recent.owner, recent.item)), shape=(len(histories), n_items))
        return np.asarray((latest @ state["followed"]).todense(), dtype=np.float32) + state["popular"]
