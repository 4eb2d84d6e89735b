"""Mean average precision at k."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
from pydantic import Field, PositiveInt

from genre.component import component
from genre.cutoffs import relevant, sorted_ranks
from genre.metrics import Ranking, Values


@component
class MAP:
    """Precision at each relevant item within the first k places, summed, over the number of relevant items."""

    k: list[PositiveInt] = Field(default_factory=lambda: [5, 10, 20, 50])
    """Cut-offs: places of the list that count; larger is more forgiving."""
    needs: ClassVar[Literal["ranking"]] = "ranking"
    larger_is_better: ClassVar[bool] = True

    def measure(self, outcome: Ranking) -> Values:
        ranks, counts = sorted_ranks(outcome), relevant(outcome)
        precision = (np.arange(ranks.shape[1]) + 1) / ranks
        return {f"map@{k}": np.where(ranks <= k, precision, 0.0).sum(1) / counts for k in self.k}
