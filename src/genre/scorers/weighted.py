"""A weighted sum of the sources' scores."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
from pydantic import NonNegativeFloat, PositiveInt

from genre.candidates import Candidates
from genre.component import component
from genre.types import Bools, Floats, State, Terms
from genre.weighing import Indices, fit_weights, standardised_scores, weighed_terms


@component
class Weighted:
    """Each source's scores are standardised for each person, weighed and summed; the weights are learned if not given.

    They are learned on validation by maximum likelihood of what came next (a convex problem, so always the same): a
    few hundred people are enough. `lambdamart` also knows when to trust which source, and needs thousands;
    `reciprocal_rank` needs no learning and ignores by how much one item beats another.
    """

    weights: dict[str, float] | None = None
    """Weight of each source by name; larger counts more. None given learns them."""
    reg: NonNegativeFloat = 1e-3
    """Pull of the learned weights to zero; larger trusts validation less."""
    most_people: PositiveInt = 4000
    """People to learn from at most; more are steadier and slower."""

    reads: ClassVar[Literal["scores", "features"]] = "scores"
    negatives: ClassVar[None] = None

    def fit(self, candidates: Candidates, chosen: Bools) -> State:
        if self.weights is not None:
            given = [self.weights.get(name, 0.0) for name in candidates.scores]
            return {"weights": np.array(given, dtype=np.float32)}
        return {"weights": fit_weights(candidates, chosen, self.reg)}

    def score(self, state: State, candidates: Candidates) -> Floats:
        return state["weights"] @ standardised_scores(candidates)

    def terms(self, state: State, candidates: Candidates, asked: Indices) -> Terms:
        return weighed_terms(state["weights"], candidates, asked)

    def shares(self, state: State) -> Floats:
        return state["weights"] / max(float(state["weights"].sum()), 1e-12)
