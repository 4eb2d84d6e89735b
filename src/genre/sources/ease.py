"""A linear model of what goes with what."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from pydantic import PositiveFloat, PositiveInt

from genre.component import component
from genre.data import Histories, Log
from genre.errors import GenreError
from genre.sources import Resources
from genre.types import Floats, State

MOST_ITEMS = 25_000
"""At this size the item-item matrix takes 2.5 GB; it is factorised and inverted in place."""


@component
class EASE:
    """Each item is predicted from all others by ridge regression, in closed form: hard to beat without order or text.

    Time grows with the cube of the catalogue, so it is refused above 25,000 items; use `ials` or `item_knn` there.
    Steck (2019), https://arxiv.org/abs/1905.03375.
    """

    top_k: PositiveInt = 300
    """Candidates to retrieve; more miss less and cost time."""
    reg: PositiveFloat = 200.0
    """Ridge penalty; larger trusts rare pairs less and leans to popular items."""
    GRID: ClassVar[dict[str, list[Any]]] = {"reg": [50.0, 100.0, 200.0, 400.0, 800.0]}

    def fit(self, log: Log, resources: Resources) -> State:
        from scipy.linalg import get_lapack_funcs

        if log.n_items > MOST_ITEMS:
            raise GenreError(f"ease: {log.n_items} items are more than {MOST_ITEMS}; use ials or item_knn in its place")
        matrix = log.matrix()
        gram = (matrix.T @ matrix).toarray(order="F")
        gram[np.diag_indices_from(gram)] += self.reg
        factorise, invert = get_lapack_funcs(("potrf", "potri"), (gram,))
        factor, info = factorise(gram, lower=1, overwrite_a=1)
        inverse, info2 = invert(factor, lower=1, overwrite_c=1)
        if info or info2:
            raise GenreError("ease: the item-item matrix could not be inverted; use a larger reg")
        weights = _mirrored(inverse)
        weights /= -weights.diagonal().copy()
        np.fill_diagonal(weights, 0.0)
        return {"weights": weights}

    def score(self, state: State, histories: Histories, resources: Resources) -> Floats:
        weights = state["weights"]
        return np.asarray(histories.matrix(len(weights)) @ weights, dtype=np.float32)


def _mirrored(lower: Floats, block: int = 1024) -> Floats:
    """The symmetric matrix, by rows, of which the lower triangle is given by columns; no second matrix is made."""
    rows = lower.T
    for i in range(0, len(rows), block):
        edge = min(i + block, len(rows))
        rows[i:edge, :i] = rows[:i, i:edge].T
        corner = rows[i:edge, i:edge]
        corner[:] = np.triu(corner) + np.triu(corner, 1).T
    return rows
