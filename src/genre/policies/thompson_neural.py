"""Thompson sampling on top of the fine-tuned model."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt

from genre.component import component
from genre.learn.posteriors import factor, gathered, nothing_gathered, of_committee, scattered, solved
from genre.policies import Arms, Doubles, Draw, Feedback
from genre.sections import Share
from genre.types import State


@component
class ThompsonNeural:
    """Neural-linear: a linear belief on what the fine-tuned model says of a person and an item, and on its score.

    The belief starts at the model's own score and learns where rewards differ from it, so the first slate is already a
    good one. How noisy rewards are is learned too (a normal-inverse-gamma belief). The model stays as it is; after
    another training the belief is made anew from the log. `thompson_linear` starts from nothing. Riquelme et al.
    (2018), https://arxiv.org/abs/1802.09127; propensities are exact (`posteriors.py`).
    """

    prior: PositiveFloat = 30.0
    """Precision of the belief that the model's score is right; larger trusts it longer and explores less."""
    trust: float = 1.0
    """Weight of the score before any feedback: 1 where it is an expected reward; larger orders more strictly by it."""
    noise: PositiveFloat = 0.5
    """Standard deviation of rewards that is believed at first; larger explores more in the beginning."""
    noise_rounds: PositiveFloat = 10.0
    """Rows of feedback that this first belief is worth; larger holds to it longer."""
    members: PositiveInt = 64
    """Draws from the belief that share a decision; more make finer propensities and cost time in proportion."""
    forget: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of what is known that each row of feedback takes away; larger follows changes sooner."""
    explore: Share = 0.01
    """Share of each place that goes to all candidates evenly, so that every one can be judged; larger costs more."""
    seed: NonNegativeInt = 0
    """Of the draws."""

    reads: ClassVar[Literal["contexts"]] = "contexts"

    def start(self, n_items: int, dim: int) -> State:
        return self._believed(nothing_gathered(dim + 2))

    def draw(self, state: State, arms: Arms) -> Draw:
        return of_committee(state["committee"] @ _rows(arms.contexts, arms.scores).T, self.explore)

    def update(self, state: State, feedback: Feedback) -> State:
        rows = _rows(feedback.contexts, feedback.scores)
        return self._believed(gathered(state, rows, feedback, self.forget))

    def _believed(self, sums: State) -> State:
        lower, seen = factor(sums, self.prior), int(sums["seen"])
        first = np.zeros(len(sums["moment"]))
        first[1] = self.trust
        right = sums["moment"] + self.prior * first
        mean = solved(lower, right)
        shape = (self.noise_rounds + float(sums["count"])) / 2
        left = float(sums["squares"]) + self.prior * self.trust**2 - float(mean @ right)
        rate = (self.noise_rounds * self.noise**2 + max(left, 0.0)) / 2
        variance = rate / np.random.default_rng([self.seed, seen, 1]).gamma(shape, size=(self.members, 1))
        committee = mean + np.sqrt(variance) * scattered(lower, self.members, self.seed, seen)
        return {**sums, "mean": mean, "noise": np.array(np.sqrt(rate / shape)), "committee": committee}


def _rows(contexts: Doubles, scores: Doubles) -> Doubles:
    return np.concatenate([np.ones((len(contexts), 1)), scores[:, None], contexts], 1)
