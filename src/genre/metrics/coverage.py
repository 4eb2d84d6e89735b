"""Catalogue coverage at k."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
from pydantic import Field, PositiveInt

from genre.component import component
from genre.metrics import Ranking, Values


@component
class Coverage:
    """Share of the catalogue that stands in anybody's first k places."""

    k: list[PositiveInt] = Field(default_factory=lambda: [5, 10, 20, 50])
    """Cut-offs: places of the list that count; larger is more forgiving."""
    needs: ClassVar[Literal["ranking"]] = "ranking"
    larger_is_better: ClassVar[bool | None] = None

    def measure(self, outcome: Ranking) -> Values:
        shown = [np.unique(outcome.lists[:, :k]) for k in self.k]
        return {
            f"coverage@{k}": np.array((s >= 0).sum() / len(outcome.item_counts))
            for k, s in zip(self.k, shown, strict=True)
        }
