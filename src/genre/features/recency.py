"""How an item's time fits a person's."""

from __future__ import annotations

import numpy as np
from pydantic import PositiveFloat

from genre.candidates import Candidates
from genre.component import component
from genre.data import Histories, Log
from genre.sources import Resources
from genre.types import Floats, State

BINS = 128
"""Periods that the log is divided in at most."""


@component
class Recency:
    """How much an item was chosen in the days before the person's latest event, and how old it was by then.

    Looks only at what was before the person's latest event. Needs times; unknown without them. `popularity` looks at
    the end of the log alone, the same for everybody.
    """

    days: PositiveFloat = 14.0
    """Length of the period, in days; larger is steadier and slower to notice a change. Longer where the log is so long
    that it would be more than 128 periods."""

    def fit(self, log: Log, resources: Resources) -> State:
        rows = log.where(log.positive & np.isfinite(log.time))
        if not len(rows):
            return {}
        start, span = rows.time.min(), max(rows.time.max() - rows.time.min(), 1.0)
        width = max(self.days * 86400, span / (BINS - 1))
        period = ((rows.time - start) // width).astype(np.int64)
        counts = np.zeros((int(period.max()) + 2, log.n_items), dtype=np.float32)
        np.add.at(counts, (period + 1, rows.item), 1)
        first = np.full(log.n_items, np.nan)
        order = np.argsort(-rows.time, kind="stable")
        first[rows.item[order]] = rows.time[order]
        return {"counts": counts.cumsum(0), "first": first, "start": np.array([start, width])}

    def values(
        self, state: State, candidates: Candidates, histories: Histories, resources: Resources
    ) -> dict[str, Floats]:
        if not state:
            return {}
        start, width = state["start"]
        now = np.full(len(histories), np.nan)
        some = np.flatnonzero(histories.lengths > 0)
        now[some] = histories.times[histories.offsets[some + 1] - 1]
        # The period before the one of the latest event: whole, and over by then.
        last = np.clip(np.nan_to_num((now - start) // width), 0, len(state["counts"]) - 1).astype(np.int64)
        at, item = last[candidates.owner], candidates.item
        before = state["counts"][at, item] - state["counts"][np.maximum(at - 1, 0), item]
        known = np.isfinite(now)[candidates.owner]
        # An item that came later counts as new: nobody who asks knows when it will come.
        age = np.maximum(now[candidates.owner] - state["first"][item], 0) / 86400
        columns = {"late": np.log1p(before), "share": before / (1 + state["counts"][-1, item]), "age_days": age}
        return {f"recency.{name}": np.where(known, v, np.nan).astype(np.float32) for name, v in columns.items()}
