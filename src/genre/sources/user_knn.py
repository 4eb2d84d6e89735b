"""What people with the same taste chose."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from pydantic import NonNegativeFloat, PositiveFloat, PositiveInt
from scipy import sparse

from genre.component import component
from genre.data import Histories, Log
from genre.sources import Resources
from genre.types import Floats, State

BLOCK = 256
"""People who are compared with everyone at a time."""


@component
class UserKNN:
    """Items of the people whose histories are most like the person's own, each counting by how like they are.

    Only the history asked about is compared, so people who are not in the log are answered as well as those who are.
    Stronger than `item_knn` where people have long histories and there are fewer of them than items; slower to answer.
    Herlocker et al. (1999), https://doi.org/10.1145/312624.312682.
    """

    top_k: PositiveInt = 300
    """Candidates to retrieve; more miss less and cost time."""
    neighbours: PositiveInt = 100
    """Nearest people listened to; larger is smoother, leans to popular items, and is slower."""
    shrink: NonNegativeFloat = 0.0
    """Added to the cosine's denominator, in items; larger trusts people with short histories less."""
    power: NonNegativeFloat = 0.5
    """An item in common counts for its popularity to minus this power; larger listens to rare tastes in common."""
    sharpness: PositiveFloat = 1.0
    """Power of the cosine by which a neighbour counts; larger listens to the very nearest."""
    GRID: ClassVar[dict[str, list[Any]]] = {
        "neighbours": [30, 100, 300],
        "power": [0.0, 0.5],
        "sharpness": [1.0, 2.0],
    }

    def fit(self, log: Log, resources: Resources) -> State:
        matrix = log.matrix()
        counts = np.asarray(matrix.sum(0)).ravel()
        weights = np.maximum(counts, 1) ** -self.power
        # On average an item in a history weighs 1, so that `shrink` is a number of items whatever the power.
        weights *= counts.sum() / max(float(counts @ weights), 1e-12)
        return {"chosen": matrix, "weights": weights.astype(np.float32)}

    def score(self, state: State, histories: Histories, resources: Resources) -> Floats:
        chosen, weights = state["chosen"], state["weights"]
        people, lengths = sparse.csr_matrix(chosen.T), chosen @ weights
        scores = np.zeros((len(histories), len(weights)), dtype=np.float32)
        # A few people at a time: what they have in common with everyone is in memory at once.
        for i in range(0, len(histories), BLOCK):
            mine = histories.take(slice(i, i + BLOCK)).matrix(len(weights))
            like = self._like(mine, people, weights, lengths)
            scores[i : i + BLOCK] = (like @ chosen).toarray()
        return scores

    def _like(
        self, mine: sparse.csr_matrix, people: sparse.csr_matrix, weights: Floats, lengths: Floats
    ) -> sparse.csr_matrix:
        """How much each person listens to their nearest others: ``[block, people of the log]``."""
        common = sparse.coo_matrix(mine @ sparse.diags_array(weights) @ people)
        row, column = common.row, common.col
        cosine = common.data / (np.sqrt((mine @ weights)[row] * lengths[column]) + self.shrink)
        order = np.lexsort((column, -cosine, row))
        found = np.bincount(row, minlength=int(row.max(initial=-1)) + 1)
        place = np.arange(len(order)) - np.repeat(np.cumsum(found) - found, found)
        keep = order[place < self.neighbours]
        like = (cosine[keep] ** self.sharpness).astype(np.float32)
        return sparse.csr_matrix((like, (row[keep], column[keep])), shape=common.shape)
