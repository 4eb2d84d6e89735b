"""Novelty at k."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
from pydantic import Field, PositiveInt

from genre.component import component
from genre.metrics import Ranking, Values


@component
class Novelty:
    """Mean surprise of what is shown: -log2 of each item's share of the training interactions (plus one), in bits."""

    k: list[PositiveInt] = Field(default_factory=lambda: [5, 10, 20, 50])
    """Cut-offs: places of the list that count; larger is more forgiving."""
    needs: ClassVar[Literal["ranking"]] = "ranking"
    larger_is_better: ClassVar[bool | None] = None

    def measure(self, outcome: Ranking) -> Values:
        counts = outcome.item_counts + 1.0
        bits = np.append(-np.log2(counts / counts.sum()), 0.0)
        return {f"novelty@{k}": _mean_shown(bits, outcome.lists[:, :k]) for k in self.k}


def _mean_shown(values: np.ndarray, lists: np.ndarray) -> np.ndarray:
    n = (lists >= 0).sum(1).astype(np.float64)
    n[n == 0] = np.nan
    return values[lists].sum(1) / n
