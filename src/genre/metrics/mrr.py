"""Mean reciprocal rank at k."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
from pydantic import Field, PositiveInt

from genre.component import component
from genre.cutoffs import relevant, sorted_ranks
from genre.metrics import Ranking, Values


@component
class MRR:
    """1 / rank of the first relevant item, 0 beyond k. Looks at the first hit only, unlike map and ndcg."""

    k: list[PositiveInt] = Field(default_factory=lambda: [5, 10, 20, 50])
    """Cut-offs: places of the list that count; larger is more forgiving."""
    needs: ClassVar[Literal["ranking"]] = "ranking"
    larger_is_better: ClassVar[bool] = True

    def measure(self, outcome: Ranking) -> Values:
        best, counts = sorted_ranks(outcome)[:, 0], relevant(outcome)
        return {f"mrr@{k}": np.where(best <= k, 1 / best, 0.0) * (counts / counts) for k in self.k}
