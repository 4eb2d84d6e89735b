"""The policy whose doubly robust value is highest."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import NonNegativeFloat, PositiveFloat, PositiveInt

from genre.component import component
from genre.learn.policyfitting import Doubles, Judged, Weights, learn_weights
from genre.learners import Say


@component
class DoublyRobust:
    """Raises the doubly robust estimate of a softmax policy's value.

    A reward model, mended by the weighted errors that it makes in the log, so it learns of items that were not shown
    too. The usual choice; without trust in a reward model take `policy_gradient`, and where what is shown now decides
    what a session brings later, `conservative_q`. Dudik et al. (2011), https://arxiv.org/abs/1103.4601.
    """

    temperature: PositiveFloat = 0.3
    """Of the softmax over the supervised scores, standardised, that learning starts from and is held to; larger
    explores more."""
    leash: NonNegativeFloat = 0.05
    """What a nat of divergence (KL) from that softmax costs, in rewards; larger stays nearer to what was supervised."""
    most_weight: PositiveFloat = 20.0
    """Highest importance weight while learning; larger errs less and learns less steadily."""
    epochs: PositiveInt = 60
    """Passes over the log at most; it stops at the best value on held-out people."""
    patience: PositiveInt = 8
    """Passes without a better value before it stops."""
    lr: PositiveFloat = 0.03
    """Step size (Adam); larger learns faster until it diverges."""
    batch_size: PositiveInt = 256
    """Slates a step; larger is steadier and takes fewer steps."""

    makes: ClassVar[Literal["policy"]] = "policy"
    over_sessions: ClassVar[bool] = False
    models_rewards: ClassVar[bool] = True

    def learn(self, train: Any, valid: Any, seed: int, say: Say) -> tuple[Weights, list[dict[str, float]]]:
        return learn_weights(train, valid, self, seed, say)

    def pull(self, one: Judged) -> Doubles:
        """Gradient of the value with respect to the logits of some places: ``[rows, m]``."""
        at, gain = np.arange(len(one.shown)), one.expected.copy()
        wrong = one.reward - gain[at, one.shown]
        ratio = one.chance[at, one.shown] / one.logged
        gain[at, one.shown] += np.where(ratio <= self.most_weight, wrong / one.logged, 0.0)
        return one.chance * (gain - (one.chance * gain).sum(1, keepdims=True))
