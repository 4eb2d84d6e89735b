"""Fusion by rank."""

from __future__ import annotations

import numpy as np
from pydantic import PositiveFloat

from genre.component import component
from genre.types import Bools, Floats, Ints, State


@component
class ReciprocalRank:
    """Sum over the sources of 1 / (constant + rank): nothing to learn, deaf to by how much one item beats another.

    Take it without validation data; `weighted` is better where there are some.
    Cormack, Clarke and Buettcher (2009), https://doi.org/10.1145/1571941.1572114.
    """

    constant: PositiveFloat = 60.0
    """Added to each rank; larger makes the top of a list count less."""

    def fit(self, scores: dict[str, Floats], allowed: Bools, targets: list[Ints]) -> State:
        return {}

    def score(self, state: State, scores: dict[str, Floats], allowed: Bools) -> Floats:
        total = np.zeros(allowed.shape, dtype=np.float32)
        for score in scores.values():
            values = np.where(allowed & np.isfinite(score), score, -np.inf)
            order = np.argsort(-values, axis=1, kind="stable")
            rank = np.empty_like(order)
            np.put_along_axis(rank, order, np.tile(np.arange(1, order.shape[1] + 1), (len(order), 1)), 1)
            total += (np.ptp(values, axis=1, keepdims=True) > 0) / (self.constant + rank)
        return np.where(allowed, total, -np.inf)
