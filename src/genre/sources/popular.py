"""The most popular items."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from pydantic import PositiveInt

from genre.component import component
from genre.data import Histories, Log
from genre.sources import Resources
from genre.types import Floats, State


@component
class Popular:
    """How often each item was chosen in all of training: the baseline that everything must beat, and the last resort.

    Where tastes move, `recent` is the better one.
    """

    top_k: PositiveInt = 300
    """Candidates to retrieve; more miss less and cost time."""
    GRID: ClassVar[dict[str, list[Any]]] = {}

    def fit(self, log: Log, resources: Resources) -> State:
        return {"counts": np.bincount(log.item[log.positive], minlength=log.n_items).astype(np.float32)}

    def score(self, state: State, histories: Histories, resources: Resources) -> Floats:
        return np.tile(state["counts"], (len(histories), 1))
