"""Thompson sampling with a linear belief on contexts."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt

from genre.component import component
from genre.learn.posteriors import factor, gathered, nothing_gathered, of_committee, scattered, solved, with_constant
from genre.policies import Arms, Draw, Feedback
from genre.sections import Share
from genre.types import State


@component
class ThompsonLinear:
    """A Gaussian belief in the weights of a linear reward; acts by draws from it.

    Starts from nothing, so it needs some hundred rounds before it beats a trained model; what it learns of one item it
    knows of all that are like it. `thompson_neural` starts from the trained model, `linucb` is the same belief without
    chance. Agrawal and Goyal (2013), https://arxiv.org/abs/1209.3352; propensities are exact (`posteriors.py`).
    """

    prior: PositiveFloat = 1.0
    """Precision of the belief that weights are 0; larger learns more slowly and explores less."""
    noise: PositiveFloat = 0.5
    """Standard deviation of rewards around what is expected; larger explores longer."""
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
        return self._believed(nothing_gathered(dim + 1))

    def draw(self, state: State, arms: Arms) -> Draw:
        return of_committee(state["committee"] @ with_constant(arms.contexts).T, self.explore)

    def update(self, state: State, feedback: Feedback) -> State:
        return self._believed(gathered(state, with_constant(feedback.contexts), feedback, self.forget))

    def _believed(self, sums: State) -> State:
        lower = factor(sums, self.prior)
        mean = solved(lower, sums["moment"])
        spread = scattered(lower, self.members, self.seed, int(sums["seen"]))
        return {**sums, "mean": mean, "committee": mean + self.noise * spread}
