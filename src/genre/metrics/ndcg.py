"""Normalised discounted cumulative gain at k."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
from pydantic import Field, PositiveInt

from genre.component import component
from genre.cutoffs import relevant, sorted_ranks
from genre.metrics import Ranking, Values


@component
class NDCG:
    """Relevant items weighted by 1 / log2(1 + rank), over the best order's sum. Sensitive to the order within the list.

    Jarvelin and Kekalainen (2002), https://doi.org/10.1145/582415.582418, with binary gains.
    """

    k: list[PositiveInt] = Field(default_factory=lambda: [5, 10, 20, 50])
    """Cut-offs: places of the list that count; larger is more forgiving."""
    needs: ClassVar[Literal["ranking"]] = "ranking"
    larger_is_better: ClassVar[bool] = True

    def measure(self, outcome: Ranking) -> Values:
        ranks, counts = sorted_ranks(outcome), relevant(outcome)
        discounts = 1 / np.log2(np.arange(ranks.shape[1]) + 2)
        ideal = np.concatenate([[np.nan], np.cumsum(discounts)])
        known = np.nan_to_num(counts).astype(int)
        return {
            f"ndcg@{k}": np.where(ranks <= k, 1 / np.log2(ranks + 1), 0.0).sum(1) / ideal[np.minimum(known, k)]
            for k in self.k
        }
