"""Hit rate at k."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
from pydantic import Field, PositiveInt

from genre.component import component
from genre.cutoffs import relevant, sorted_ranks
from genre.metrics import Ranking, Values


@component
class HitRate:
    """Whether any relevant item stands in the first k places: 1 or 0 a unit."""

    k: list[PositiveInt] = Field(default_factory=lambda: [5, 10, 20, 50])
    """Cut-offs: places of the list that count; larger is more forgiving."""
    needs: ClassVar[Literal["ranking"]] = "ranking"
    larger_is_better: ClassVar[bool] = True

    def measure(self, outcome: Ranking) -> Values:
        best, counts = sorted_ranks(outcome)[:, 0], relevant(outcome)
        return {f"hit_rate@{k}": np.where(np.isnan(counts), np.nan, best <= k) for k in self.k}
