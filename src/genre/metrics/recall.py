"""Recall at k."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field, PositiveInt

from genre.component import component
from genre.cutoffs import relevant, sorted_ranks
from genre.metrics import Ranking, Values


@component
class Recall:
    """Share of the relevant items that stand in the first k places. With one relevant item a unit equal to hit_rate."""

    k: list[PositiveInt] = Field(default_factory=lambda: [5, 10, 20, 50])
    """Cut-offs: places of the list that count; larger is more forgiving."""
    needs: ClassVar[Literal["ranking"]] = "ranking"
    larger_is_better: ClassVar[bool] = True

    def measure(self, outcome: Ranking) -> Values:
        ranks, counts = sorted_ranks(outcome), relevant(outcome)
        return {f"recall@{k}": (ranks <= k).sum(1) / counts for k in self.k}
