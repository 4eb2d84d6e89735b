"""Gini coefficient of exposure at k."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
from pydantic import Field, PositiveInt

from genre.component import component
from genre.metrics import Ranking, Values


@component
class Gini:
    """How unevenly the first k places are shared among all items: 0 evenly, 1 all to one; coverage asks only if."""

    k: list[PositiveInt] = Field(default_factory=lambda: [5, 10, 20, 50])
    """Cut-offs: places of the list that count; larger is more forgiving."""
    needs: ClassVar[Literal["ranking"]] = "ranking"
    larger_is_better: ClassVar[bool | None] = None

    def measure(self, outcome: Ranking) -> Values:
        return {f"gini@{k}": np.array(_gini(outcome.lists[:, :k], len(outcome.item_counts))) for k in self.k}


def _gini(lists: np.ndarray, n_items: int) -> float:
    shown = lists[lists >= 0]
    if not len(shown):
        return float("nan")
    counts = np.sort(np.bincount(shown, minlength=n_items)).astype(np.float64)
    place = np.arange(1, n_items + 1)
    return float((2 * place - n_items - 1) @ counts / (n_items * counts.sum()))
