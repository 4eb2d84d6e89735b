"""The policy that earns most over a session, learned by Q-learning that trusts only what the log shows."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import NonNegativeFloat, PositiveFloat, PositiveInt

from genre.component import component
from genre.errors import ConfigError, DataError
from genre.learn.policyfitting import Places, Weights
from genre.learn.sessions import session_value
from genre.learners import Say
from genre.sections import Share


@component
class ConservativeQ:
    """Conservative Q-learning over sessions, for where what is shown now decides what can be earned later.

    A state is the person's vector before a slate, an action an item by its vector; values look ahead by
    ``learn.reward.discount``. Items that the log does not show in a state are pressed down, or the maximum would be
    taken of what nobody tried. The policy is the supervised softmax, tilted by the values over ``leash``. Needs
    sessions of several slates; where a slate is worth what it earns itself, `doubly_robust` is surer. Kumar et al.
    (2020), https://arxiv.org/abs/2006.04779; double Q-learning by van Hasselt et al. (2015),
    https://arxiv.org/abs/1509.06461. Not by d3rlpy, which took 14 minutes on a toy.
    """

    temperature: PositiveFloat = 0.3
    """Of the softmax over the supervised scores, standardised, that learning starts from and is held to; larger
    explores more."""
    leash: PositiveFloat = 0.05
    """What a nat of divergence (KL) from that softmax costs, in rewards; larger stays nearer to what was supervised."""
    caution: NonNegativeFloat = 0.1
    """Weight of pressing down what the log does not show; larger stays nearer to what was logged, 0 is plain
    Q-learning. In the square of rewards: it goes with their scale."""
    follow: Share = 0.1
    """Share of the way that the target network follows in each step; larger learns faster and less steadily."""
    width: PositiveInt = 32
    """Neurons of the net that says what a state is worth."""
    most_weight: PositiveFloat = 20.0
    """Highest weight of a session while a policy is judged on the valid part; larger errs less and less steadily."""
    epochs: PositiveInt = 60
    """Passes over the log at most; the best by its value on the valid part is kept."""
    patience: PositiveInt = 15
    """Passes without a better value before it stops; values spread backwards over a session slowly."""
    lr: PositiveFloat = 0.03
    """Step size (Adam); larger learns faster until it diverges."""
    batch_size: PositiveInt = 256
    """Places of slates a step; larger is steadier and takes fewer steps."""

    makes: ClassVar[Literal["policy"]] = "policy"
    models_rewards: ClassVar[bool] = False
    over_sessions: ClassVar[bool] = True

    def learn(self, train: Any, valid: Any, seed: int, say: Say) -> tuple[Weights, list[dict[str, float]]]:
        _check(train)
        import torch

        from genre.learn.qlearning import Steps, Values, follow, loss

        teach, check = (Places.of(part, self.temperature) for part in (train, valid))
        steps = Steps.of(train, teach.scores, teach.slate, teach.place)
        torch.manual_seed(seed)
        now, past = Values(steps, self.width), Values(steps, self.width)
        past.load_state_dict(now.state_dict())
        optimizer, rng = torch.optim.Adam(now.parameters(), lr=self.lr), np.random.default_rng([seed, 23])
        best, kept, since = session_value(check, now.weights(self.leash), self), now.weights(self.leash), 0
        curve = [{"epoch": 0, "value": best, "loss": 0.0}]
        for epoch in range(1, self.epochs + 1):
            order, lost = rng.permutation(len(steps.shown)), 0.0
            for start in range(0, len(order), self.batch_size):
                rows = order[start : start + self.batch_size]
                optimizer.zero_grad()
                one = loss(now, past, steps, rows, train.discount, self.caution)
                one.backward()
                optimizer.step()
                follow(past, now, self.follow)
                lost += float(one.detach()) * len(rows) / len(order)
            weights = now.weights(self.leash)
            reached = session_value(check, weights, self)
            curve.append({"epoch": epoch, "value": reached, "loss": lost})
            best, kept, since = (reached, weights, 0) if reached > best else (best, kept, since + 1)
            if since >= self.patience:
                break
        say(f"{len(curve) - 1} passes; value of a session on valid {curve[0]['value']:.4f} -> {best:.4f}")
        return kept, curve


def _check(train: Any) -> None:
    """Raise `GenreError` where there is nothing ahead to learn."""
    if not train.discount:
        raise ConfigError(
            ["learn.reward.discount: 0 counts nothing of the rest of a session, which is what conservative_q learns; "
             "set such as 0.9, or take learn.fit: doubly_robust"]
        )  # fmt: skip
    if not (train.following >= 0).any():
        raise DataError(
            "conservative_q: no session of the train part has two slates; set learn.reward.session_minutes, or take "
            "learn.fit: doubly_robust"
        )
