"""Lists that are read from the top until something is chosen."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import WithJsonSchema

from genre.component import Slot, component
from genre.policies import NAMED, Arms, Draw, Feedback, Policy
from genre.sections import slot
from genre.types import State

Inner = Annotated[Policy, Slot("policies"), WithJsonSchema(NAMED)]


@component
class Cascade:
    """Another policy, which learns from those places of a slate that were read: down to the first success.

    For lists of which one thing is taken, as a search's. What stands below the first success was not seen and is no
    failure. Where people read on, take `position_based`. Kveton et al. (2015), https://arxiv.org/abs/1502.02763.
    """

    inner: Inner = slot("policies", "thompson_neural")
    """What fills each place, and learns."""
    success: float = 0.0
    """A reward above this is a success; larger takes more places for read."""

    reads: ClassVar[Literal["contexts"]] = "contexts"

    def start(self, n_items: int, dim: int) -> State:
        return self.inner.start(n_items, dim)

    def draw(self, state: State, arms: Arms) -> Draw:
        return self.inner.draw(state, arms)

    def update(self, state: State, feedback: Feedback) -> State:
        won = feedback.reward > self.success
        _, slate = np.unique(feedback.slate, return_inverse=True)
        first = np.full(int(slate.max(initial=-1)) + 1, np.iinfo(np.int32).max)
        np.minimum.at(first, slate[won], feedback.position[won])
        return self.inner.update(state, feedback.where(feedback.position <= first[slate]))
