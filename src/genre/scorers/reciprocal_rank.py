"""Fusion by rank."""

from __future__ import annotations

import numpy as np
from pydantic import PositiveFloat

from genre.component import component
from genre.types import Bools, Floats, Ints, State


@component
class ReciprocalRank:
    """Sum over the sources of 1 / (constant + rank): nothing to learn, deaf to by how much one item beats another.

    Items that a source scores alike share the last of their ranks, so what it does not know does not count. Take it
    without validation data; `weighted` is better where there are some.
    Cormack, Clarke and Buettcher (2009), https://doi.org/10.1145/1571941.1572114.
    """

    constant: PositiveFloat = 60.0
    """Added to each rank; larger makes the top of a list count less."""

    def fit(self, scores: dict[str, Floats], allowed: Bools, targets: list[Ints]) -> State:
        return {}

    def score(self, state: State, scores: dict[str, Floats], allowed: Bools) -> Floats:
        total = np.zeros(allowed.shape, dtype=np.float32)
        for score in scores.values():
            total += 1 / (self.constant + _places(np.where(allowed & np.isfinite(score), score, -np.inf)))
        return np.where(allowed, total, -np.inf)


def _places(values: Floats) -> Ints:
    """For each value of a row, how many of the row are at least as high."""
    n = values.shape[1]
    order = np.argsort(-values, axis=1)
    ordered = np.take_along_axis(values, order, 1)
    last_of_its_kind = np.ones(values.shape, dtype=bool)
    last_of_its_kind[:, :-1] = ordered[:, :-1] != ordered[:, 1:]
    ends = np.where(last_of_its_kind, np.arange(1, n + 1, dtype=np.int32), n)
    places = np.empty(values.shape, dtype=np.int32)
    np.put_along_axis(places, order, np.minimum.accumulate(ends[:, ::-1], axis=1)[:, ::-1], 1)
    return places
