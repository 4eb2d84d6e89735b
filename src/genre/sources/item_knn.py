"""Items chosen by the same people."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from pydantic import NonNegativeFloat, PositiveInt
from scipy import sparse

from genre.component import component
from genre.data import Histories, Log
from genre.sources import Resources
from genre.types import Floats, State


@component
class ItemKNN:
    """Sum of each candidate's cosine to the items of the history, its nearest neighbours only.

    Quick, explains itself, fits any size; `ease` is usually better where the catalogue is small enough for it.
    Sarwar et al. (2001), https://doi.org/10.1145/371920.372071.
    """

    top_k: PositiveInt = 300
    """Candidates to retrieve; more miss less and cost time."""
    neighbours: PositiveInt = 100
    """Nearest items kept for each; larger is smoother and slower."""
    shrink: NonNegativeFloat = 10.0
    """Added to the cosine's denominator; larger trusts pairs with few people less."""
    GRID: ClassVar[dict[str, list[Any]]] = {"neighbours": [20, 50, 100, 200], "shrink": [0.0, 10.0, 50.0]}

    def fit(self, log: Log, resources: Resources) -> State:
        matrix = log.matrix()
        norm = np.sqrt(np.asarray(matrix.sum(0)).ravel())
        together = (matrix.T @ matrix).tocsr()
        together.setdiag(0)
        together.eliminate_zeros()
        rows = np.repeat(np.arange(log.n_items), np.diff(together.indptr))
        together.data = (together.data / (norm[rows] * norm[together.indices] + self.shrink)).astype(np.float32)
        return {"similarity": nearest(together, self.neighbours)}

    def score(self, state: State, histories: Histories, resources: Resources) -> Floats:
        matrix = histories.matrix(state["similarity"].shape[0])
        return np.asarray((matrix @ state["similarity"]).todense(), dtype=np.float32)


def nearest(matrix: sparse.csr_matrix, k: int) -> sparse.csr_matrix:
    """The ``k`` largest entries of each column."""
    entries = matrix.tocoo()
    row, column = np.asarray(entries.row, dtype=np.int64), np.asarray(entries.col, dtype=np.int64)
    value = np.asarray(entries.data, dtype=np.float32)
    order = np.lexsort((row, -value, column))
    counts = np.bincount(column, minlength=int(column.max(initial=-1)) + 1)
    place = np.arange(len(order)) - np.repeat(np.cumsum(counts) - counts, counts)
    keep = order[place < k]
    return sparse.csr_matrix((value[keep], (row[keep], column[keep])), shape=matrix.shape)
