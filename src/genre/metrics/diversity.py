"""Diversity at k."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
from pydantic import Field, PositiveInt

from genre.component import component
from genre.metrics import Ranking, Values


@component
class Diversity:
    """How different the items of a list are: 1 - mean cosine over its pairs, of the pretrained text vectors.

    Ziegler et al. (2005), https://doi.org/10.1145/1060745.1060754.
    """

    k: list[PositiveInt] = Field(default_factory=lambda: [5, 10, 20, 50])
    """Cut-offs: places of the list that count; larger is more forgiving."""
    needs: ClassVar[Literal["ranking"]] = "ranking"
    larger_is_better: ClassVar[bool | None] = None

    def measure(self, outcome: Ranking) -> Values:
        return {f"diversity@{k}": _diversity(outcome, outcome.lists[:, :k]) for k in self.k}


def _diversity(outcome: Ranking, lists: np.ndarray, block: int = 1024) -> np.ndarray:
    """By the identity that the cosines of all pairs sum to the squared length of the vectors' sum."""
    vectors = np.vstack([outcome.item_vectors, np.zeros((1, outcome.item_vectors.shape[1]), dtype=np.float32)])
    sums = [vectors[lists[i : i + block]].sum(1) for i in range(0, len(lists), block)]
    total = np.concatenate(sums) if sums else vectors[:0]
    squares = np.append(np.square(outcome.item_vectors).sum(1), 0.0)[lists].sum(1)
    n = (lists >= 0).sum(1).astype(np.float64)
    n[n < 2] = np.nan
    return 1 - (np.square(total).sum(1) - squares) / (n * (n - 1))
