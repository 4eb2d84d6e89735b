"""The best that an item may plausibly be."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field, NonNegativeFloat, PositiveFloat

from genre.component import component
from genre.learn.posteriors import factor, gathered, nothing_gathered, of_best, solved, with_constant
from genre.policies import Arms, Draw, Feedback
from genre.sections import Share
from genre.types import State


@component
class LinUCB:
    """A linear reward learned from feedback; shows the item whose expectation plus uncertainty is highest.

    The belief is that of `thompson_linear`. It acts without chance, so that all who come before the next update are
    shown the same, and its log would judge no other policy but for ``explore``: take Thompson sampling where feedback
    comes late or in batches. Li et al. (2010), https://arxiv.org/abs/1003.0146.
    """

    alpha: NonNegativeFloat = 0.5
    """Uncertainty that counts, in standard deviations at noise 1; larger explores more, 0 none."""
    prior: PositiveFloat = 1.0
    """Precision of the belief that weights are 0; larger learns more slowly."""
    forget: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of what is known that each row of feedback takes away; larger follows changes sooner."""
    explore: Share = 0.02
    """Share of each place that goes to all candidates evenly, so that every one can be judged; larger costs more."""

    reads: ClassVar[Literal["contexts"]] = "contexts"

    def start(self, n_items: int, dim: int) -> State:
        return self._believed(nothing_gathered(dim + 1))

    def draw(self, state: State, arms: Arms) -> Draw:
        rows = with_constant(arms.contexts)
        variance = np.einsum("nd,nd->n", rows @ state["covariance"], rows)
        return of_best(rows @ state["mean"] + self.alpha * np.sqrt(np.maximum(variance, 0.0)), self.explore)

    def update(self, state: State, feedback: Feedback) -> State:
        return self._believed(gathered(state, with_constant(feedback.contexts), feedback, self.forget))

    def _believed(self, sums: State) -> State:
        lower = factor(sums, self.prior)
        covariance = solved(lower, np.eye(len(lower)))
        return {**sums, "mean": covariance @ sums["moment"], "covariance": covariance}
