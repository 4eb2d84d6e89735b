"""Fusion by rank."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
from pydantic import PositiveFloat

from genre.candidates import Candidates
from genre.component import component
from genre.types import Bools, Floats, State, Terms
from genre.weighing import Indices


@component
class ReciprocalRank:
    """Sum over the sources of 1 / (constant + rank): nothing to learn, deaf to by how much one item beats another.

    Items that a source scores alike share the last of their ranks, so what it does not know does not count. Take it
    without validation data; `weighted` is better where there are some.
    Cormack, Clarke and Buettcher (2009), https://doi.org/10.1145/1571941.1572114.
    """

    constant: PositiveFloat = 60.0
    """Added to each rank; larger makes the top of a list count less."""

    reads: ClassVar[Literal["scores", "features"]] = "scores"
    negatives: ClassVar[None] = None
    most_people: ClassVar[int] = 0

    def fit(self, candidates: Candidates, chosen: Bools) -> State:
        return {"sources": np.ones(len(candidates.scores), dtype=np.float32)}

    def score(self, state: State, candidates: Candidates) -> Floats:
        total = np.zeros(len(candidates), dtype=np.float32)
        for values in self._each(candidates).values():
            total += values
        return total

    def terms(self, state: State, candidates: Candidates, asked: Indices) -> Terms:
        ones = {name: np.ones(len(asked), dtype=np.float32) for name in candidates.scores}
        each = {name: values[asked] for name, values in self._each(candidates).items()}
        return Terms(np.zeros(len(asked), dtype=np.float32), each, {}, ones)

    def _each(self, candidates: Candidates) -> dict[str, Floats]:
        """What each source adds."""
        known = {name: np.where(np.isfinite(score), score, -np.inf) for name, score in candidates.scores.items()}
        places = {name: candidates.places(score) for name, score in known.items()}
        return {name: (1 / (self.constant + of)).astype(np.float32) for name, of in places.items()}

    def shares(self, state: State) -> Floats:
        return state["sources"] / len(state["sources"])
