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
"""At this size the item-item matrix takes 2.5 GB twice."""


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
        gram = np.asfortranarray((matrix.T @ matrix).toarray(), dtype=np.float32)
        gram[np.diag_indices_from(gram)] += self.reg
        factorise, invert = get_lapack_funcs(("potrf", "potri"), (gram,))
        factor, info = factorise(gram, lower=1, overwrite_a=1)
        inverse, info2 = invert(factor, lower=1, overwrite_c=1)
        if info or info2:
            raise GenreError("ease: the item-item matrix could not be inverted; use a larger reg")
        inverse = np.tril(inverse) + np.tril(inverse, -1).T
        weights = inverse / -np.diag(inverse)
        np.fill_diagonal(weights, 0.0)
        return {"weights": np.ascontiguousarray(weights, dtype=np.float32)}

    def score(self, state: State, histories: Histories, resources: Resources) -> Floats:
        weights = state["weights"]
        return np.asarray(histories.matrix(len(weights)) @ weights, dtype=np.float32)
