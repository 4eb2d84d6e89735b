"""Lists whose lower places are seen more seldom."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field, WithJsonSchema

from genre.component import Slot, component
from genre.policies import NAMED, Arms, Draw, Feedback, Policy
from genre.sections import slot
from genre.types import State

Inner = Annotated[Policy, Slot("policies"), WithJsonSchema(NAMED)]


@component
class PositionBased:
    """Another policy, which learns from each place of a slate as much as it is looked at.

    A place that half of the people see counts half, and a success there counts in full, so that what stands low is not
    taken for bad. Where people stop at the first success, take `cascade`. Lagree et al. (2016),
    https://arxiv.org/abs/1606.02448.
    """

    inner: Inner = slot("policies", "thompson_neural")
    """What fills each place, and learns."""
    seen: tuple[Annotated[float, Field(gt=0, le=1)], ...] = (1.0, 0.8, 0.65, 0.55, 0.48, 0.42, 0.38, 0.34, 0.31, 0.29)
    """Share of people who look at each place, from the top; the last holds for all below. Smaller forgives more."""

    reads: ClassVar[Literal["contexts"]] = "contexts"

    def start(self, n_items: int, dim: int) -> State:
        return self.inner.start(n_items, dim)

    def draw(self, state: State, arms: Arms) -> Draw:
        return self.inner.draw(state, arms)

    def update(self, state: State, feedback: Feedback) -> State:
        looked = np.array(self.seen)[np.minimum(feedback.position, len(self.seen) - 1)]
        told = replace(feedback, reward=feedback.reward / looked, weight=feedback.weight * looked)
        return self.inner.update(state, told)
