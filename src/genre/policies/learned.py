"""The policy that was learned from a log."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
from pydantic import PositiveFloat

from genre.component import component
from genre.policies import Arms, Doubles, Draw, Feedback
from genre.sections import Share
from genre.types import Bools, State


@component
class Learned:
    """A softmax over the supervised scores, contexts and items, whose weights `genre learn fit` writes.

    With weights of 0, as at the start, it is `softmax` of the same temperature. Feedback changes nothing: it is fitted
    anew from a longer log, and published only if that log shows that it is better. For learning as feedback comes take
    a Thompson policy.
    """

    temperature: PositiveFloat = 0.3
    """What the standardised scores are divided by; larger explores more."""
    explore: Share = 0.02
    """Share of each place that goes to all candidates evenly, so that the next policy can be judged; larger costs
    more."""

    reads: ClassVar[Literal["contexts"]] = "contexts"

    def start(self, n_items: int, dim: int) -> State:
        return {"weights": np.zeros(dim + 1), "bias": np.zeros(n_items)}

    def draw(self, state: State, arms: Arms) -> Draw:
        spread = arms.scores.std()
        scores = (arms.scores - arms.scores.mean()) / (spread if spread > 0 else 1.0)
        logits = (1 / self.temperature + state["weights"][0]) * scores
        logits = logits + arms.contexts @ state["weights"][1:] + state["bias"][arms.item]

        def draw(still: Bools) -> Doubles:
            mass = np.where(still, np.exp(np.minimum(logits - logits[still].max(), 0.0)), 0.0)
            return (1 - self.explore) * mass / mass.sum() + self.explore * still / still.sum()

        return draw

    def update(self, state: State, feedback: Feedback) -> State:
        return state
