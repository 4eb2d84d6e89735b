"""How much an item is chosen, and of late."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from pydantic import Field

from genre.candidates import Candidates
from genre.component import component
from genre.data import Histories, Log
from genre.sources import Resources
from genre.types import Floats, State


@component
class Popularity:
    """Logarithm of an item's count in the log, and, where there are times, of its count in the latest part and its age.

    A scorer that knows it corrects sources that lean to what is popular, or to what is rare.
    """

    latest: Annotated[float, Field(gt=0, le=1)] = 0.1
    """Share of the log, its latest, that counts as late; larger is steadier and slower to notice a change."""

    def fit(self, log: Log, resources: Resources) -> State:
        rows = log.where(log.positive)
        state: State = {"count": _log_count(rows.item, log.n_items)}
        known = np.isfinite(rows.time)
        if known.any():
            since = np.quantile(rows.time[known], 1 - self.latest)
            first = np.full(log.n_items, np.nan)
            order = np.argsort(-rows.time[known], kind="stable")
            first[rows.item[known][order]] = rows.time[known][order]
            state["late"] = _log_count(rows.item[known & (rows.time >= since)], log.n_items)
            state["age_days"] = ((rows.time[known].max() - first) / 86400).astype(np.float32)
        return state

    def values(
        self, state: State, candidates: Candidates, histories: Histories, resources: Resources
    ) -> dict[str, Floats]:
        return {f"popularity.{name}": values[candidates.item] for name, values in state.items()}


def _log_count(items: np.ndarray, n_items: int) -> Floats:
    return np.log1p(np.bincount(items, minlength=n_items)).astype(np.float32)
