"""What is popular now."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from pydantic import PositiveFloat, PositiveInt

from genre.component import component
from genre.data import Histories, Log
from genre.sources import Resources
from genre.types import Floats, State


@component
class Recent:
    """Popularity in which an event counts for less the older it is. For news and trends; `popular` never forgets.

    Age is measured as a share of the log's span (its order where it has no times), so the setting fits any log.
    """

    top_k: PositiveInt = 300
    """Candidates to retrieve; more miss less and cost time."""
    half_life: PositiveFloat = 0.1
    """Age, as a share of the log's time span, at which an event counts half; larger forgets more slowly."""
    GRID: ClassVar[dict[str, list[Any]]] = {"half_life": [0.003, 0.01, 0.03, 0.1, 0.3]}

    def fit(self, log: Log, resources: Resources) -> State:
        rows = log.where(log.positive)
        if not len(rows):
            return {"counts": np.zeros(log.n_items, dtype=np.float32)}
        time = rows.time if not np.isnan(rows.time).any() else _place_from_end(rows)
        span = float(np.ptp(time)) or 1.0
        weights = np.exp2((time - time.max()) / span / self.half_life)
        return {"counts": np.bincount(rows.item, weights=weights, minlength=log.n_items).astype(np.float32)}

    def score(self, state: State, histories: Histories, resources: Resources) -> Floats:
        return np.tile(state["counts"], (len(histories), 1))


def _place_from_end(log: Log) -> np.ndarray:
    """Without times: how many events of the same user come later, negated."""
    total = np.bincount(log.user, minlength=log.n_users)
    place = np.arange(len(log)) - (np.cumsum(total) - total)[log.user]
    return (place - total[log.user] + 1).astype(np.float64)
