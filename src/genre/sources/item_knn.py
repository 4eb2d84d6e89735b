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

BLOCK = 256
"""Items that are compared with all others at a time."""


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
        people, norm = sparse.csr_matrix(matrix.T), np.sqrt(np.asarray(matrix.sum(0)).ravel())
        # As like as the other way round, so that the nearest of a row are those of the column.
        blocks = [self._nearest(people, matrix, norm, i) for i in range(0, log.n_items, BLOCK)]
        return {"similarity": sparse.csr_matrix(sparse.vstack(blocks).T)}

    def _nearest(self, people: sparse.csr_matrix, matrix: sparse.csr_matrix, norm: Floats, i: int) -> sparse.csr_matrix:
        """Of a block of items, ``i`` the first, how like them their nearest are: ``[block, items]``."""
        shape = (min(BLOCK, len(norm) - i), len(norm))
        together = sparse.coo_matrix(people[i : i + BLOCK] @ matrix)
        other = together.row + i != together.col
        row, column = together.row[other], together.col[other]
        value = (together.data[other] / (norm[row + i] * norm[column] + self.shrink)).astype(np.float32)
        order = np.lexsort((column, -value, row))
        counts = np.bincount(row, minlength=shape[0])
        place = np.arange(len(order)) - np.repeat(np.cumsum(counts) - counts, counts)
        keep = order[place < self.neighbours]
        return sparse.csr_matrix((value[keep], (row[keep], column[keep])), shape=shape)

    def score(self, state: State, histories: Histories, resources: Resources) -> Floats:
        matrix = histories.matrix(state["similarity"].shape[0])
        return np.asarray((matrix @ state["similarity"]).todense(), dtype=np.float32)
