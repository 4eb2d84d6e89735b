"""Fairness of exposure at k."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
from pydantic import Field, PositiveInt

from genre.component import component
from genre.errors import DataError
from genre.itemcolumns import words
from genre.metrics import Ranking, Values


@component
class ExposureGap:
    """How far the exposure of groups of items is from their shares of the catalogue: 0 equal, 1 all to groups that have
    next to nothing in it. A place is worth 1 / log2(1 + place), summed over all lists.

    By a column of the items, such as a provider; `gini` compares single items. The reranker `fair_exposure` narrows it.
    After Singh and Joachims (2018), https://doi.org/10.1145/3219819.3220088; the gap is the total variation distance.
    """

    column: str = "provider"
    """Column of the items whose values are the groups; an item of several counts for each in part, those without are a
    group."""
    k: list[PositiveInt] = Field(default_factory=lambda: [5, 10, 20, 50])
    """Cut-offs: places of the list that count; larger is more forgiving."""
    needs: ClassVar[Literal["ranking"]] = "ranking"
    larger_is_better: ClassVar[bool | None] = None

    def measure(self, outcome: Ranking) -> Values:
        if outcome.items is None:
            raise DataError(
                "metric 'exposure_gap': there is no items table here to group by; take it in the evaluation"
            )
        n = outcome.items.num_rows
        said = words(outcome.items, self.column, np.arange(n), "items")
        held = np.bincount(said.row, minlength=n)
        row = np.append(said.row, np.flatnonzero(held == 0))
        code = np.append(said.code, np.full(int((held == 0).sum()), len(said.words)))
        part = 1 / np.maximum(held, 1)[row]

        def of_groups(worth: np.ndarray) -> np.ndarray:
            """The share of each group in what the items are worth."""
            return np.bincount(code, part * worth[row]) / max(float(worth.sum()), 1e-12)

        catalogue = of_groups(np.ones(n))
        found = {k: of_groups(_exposure(outcome.lists[:, :k], n)) for k in self.k}
        gaps = {k: np.abs(shares - catalogue).sum() / 2 if shares.any() else np.nan for k, shares in found.items()}
        return {f"exposure_gap@{k}": np.array(gap) for k, gap in gaps.items()}


def _exposure(lists: np.ndarray, n: int) -> np.ndarray:
    """What the places that each item has are worth: ``[items]``."""
    worth = np.broadcast_to(1 / np.log2(2 + np.arange(lists.shape[1])), lists.shape)
    return np.bincount(lists[lists >= 0], worth[lists >= 0], minlength=n)
