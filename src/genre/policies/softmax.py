"""Candidates with probability by their scores."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
from pydantic import PositiveFloat

from genre.component import component
from genre.policies import Arms, Doubles, Draw, Feedback
from genre.sections import Share
from genre.types import Bools, State


@component
class Softmax:
    """Draws in proportion to the exponential of the score (Boltzmann), without putting an item back.

    Over a slate this is the Plackett-Luce distribution, the same as the top of the scores with Gumbel noise added (Kool
    et al. 2019, https://arxiv.org/abs/1903.06059). The usual choice for a log that shall teach: what scores alike is
    shown alike. Nothing is learned from feedback; the Thompson policies learn.
    """

    temperature: PositiveFloat = 1.0
    """What scores are divided by; larger explores more, near 0 is `greedy`."""
    standardise: bool = True
    """Whether a decision's scores are first brought to mean 0 and deviation 1, so that ``temperature`` means the same
    for every person."""
    explore: Share = 0.0
    """Share that goes to all candidates, evenly: the least probability is this over their number; larger makes later
    estimates steadier and shows more that is bad."""

    reads: ClassVar[Literal["scores"]] = "scores"

    def start(self, n_items: int, dim: int) -> State:
        return {}

    def draw(self, state: State, arms: Arms) -> Draw:
        scores = arms.scores
        if self.standardise:
            deviation = scores.std()
            scores = (scores - scores.mean()) / (deviation if deviation > 0 else 1.0)
        mass = np.exp((scores - scores.max(initial=-np.inf)) / self.temperature)

        def draw(still: Bools) -> Doubles:
            left = np.where(still, mass, 0.0)
            total, n = left.sum(), still.sum()
            if total < 1e-200:
                # What is left is so far below what was taken that its mass underflows: measured anew, among itself.
                top = scores[still].max()
                left = np.where(still, np.exp((np.minimum(scores, top) - top) / self.temperature), 0.0)
                total = left.sum()
            return (1 - self.explore) * left / total + self.explore * still / n

        return draw

    def update(self, state: State, feedback: Feedback) -> State:
        return state
