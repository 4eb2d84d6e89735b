"""Weighted rewards of what the log shows, without a reward model."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import NonNegativeFloat, PositiveFloat, PositiveInt

from genre.component import component
from genre.learn.policyfitting import Doubles, Judged, Weights, learn_weights
from genre.learners import Say


@component
class PolicyGradient:
    """REINFORCE on the log with importance weights and the correction for a whole list.

    Needs no reward model, and learns only of what was shown; steadier where the log is long and its propensities
    trusted, else take `doubly_robust`. Chen et al., Top-K off-policy correction (2019),
    https://arxiv.org/abs/1812.02353.
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
    models_rewards: ClassVar[bool] = False

    def learn(self, train: Any, valid: Any, seed: int, say: Say) -> tuple[Weights, list[dict[str, float]]]:
        return learn_weights(train, valid, self, seed, say)

    def pull(self, one: Judged) -> Doubles:
        """Gradient of the weighted rewards with respect to the logits of some places: ``[rows, m]``."""
        at, k = np.arange(len(one.shown)), one.places
        chance = one.chance[at, one.shown]
        # The chance that an item is anywhere in a list of k, rather than at this place.
        listed = k * (1 - chance) ** (k - 1)
        push = np.minimum(chance / one.logged, self.most_weight) * listed * (one.reward - one.usual)
        moved = -one.chance * push[:, None]
        moved[at, one.shown] += push
        return moved
