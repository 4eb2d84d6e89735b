"""Thompson sampling on what each item earned, whoever it was shown to."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field, NonNegativeInt, PositiveInt

from genre.component import component
from genre.errors import DataError
from genre.learn.posteriors import beta_committee, fading, of_committee
from genre.policies import Arms, Draw, Feedback
from genre.sections import Share
from genre.types import State


@component
class ThompsonBeta:
    """A Beta belief in each item's rate of success; an item is shown as often as it may be the best.

    For rewards from 0 to 1 and few items that many people see, such as banners. It knows neither people nor texts: of
    a new item it must learn everything by showing it. `thompson_linear` and `thompson_neural` carry over from one item
    to the next. Chapelle and Li (2011), https://papers.nips.cc/paper/4321; propensities are exact (`posteriors.py`).
    """

    successes: Annotated[float, Field(ge=0.5)] = 1.0
    """Successes that every item is believed to have had; larger tries new items more."""
    failures: Annotated[float, Field(ge=0.5)] = 1.0
    """Failures likewise; larger tries them less."""
    members: PositiveInt = 64
    """Draws from the belief that share a decision; more make finer propensities and cost time in proportion."""
    forget: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of what is known that each row of feedback takes away; larger follows changes sooner."""
    explore: Share = 0.01
    """Share of each place that goes to all candidates evenly, so that every one can be judged; larger costs more."""
    seed: NonNegativeInt = 0
    """Of the draws."""

    reads: ClassVar[Literal["items"]] = "items"

    def start(self, n_items: int, dim: int) -> State:
        return {"won": np.zeros(n_items), "tried": np.zeros(n_items), "seen": np.zeros((), np.int64)}

    def draw(self, state: State, arms: Arms) -> Draw:
        won, tried = state["won"][arms.item], state["tried"][arms.item]
        good, bad = self.successes + won, self.failures + np.maximum(tried - won, 0.0)
        key = self.seed * 1_000_003 + int(state["seen"])
        return of_committee(beta_committee(good, bad, arms.item, self.members, key), self.explore)

    def update(self, state: State, feedback: Feedback) -> State:
        counted = feedback.weight * feedback.reward
        if len(feedback) and (counted.min() < 0 or counted.max() > 1 + 1e-9):
            low, high = counted.min(), counted.max()
            raise DataError(f"thompson_beta needs rewards from 0 to 1; these go from {low:g} to {high:g}: scale them")
        weight, kept = fading(feedback, self.forget), (1 - self.forget) ** len(feedback)
        n = len(state["won"])
        won = kept * state["won"] + np.bincount(feedback.item, weight * feedback.reward, n)
        tried = kept * state["tried"] + np.bincount(feedback.item, weight, n)
        return {"won": won, "tried": tried, "seen": state["seen"] + len(feedback)}
