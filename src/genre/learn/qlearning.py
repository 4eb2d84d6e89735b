"""Conservative Q-learning over sessions, in the weights of a softmax policy and a net for what a state is worth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from genre.learn.policyfitting import Weights

if TYPE_CHECKING:
    from genre.learn.decisions import Decisions

CLOSED = -1e9


@dataclass
class Steps:
    """The places of slates as steps: what was known, what was shown, what it earned, and what was known next."""

    scores: Tensor
    """``[n, m]``: the supervised ones, standardised."""
    people: Tensor
    """``[n, d]``: states."""
    items: Tensor
    """``[m, d]``: actions."""
    heads: Tensor
    """``[n, m, h]``."""
    slate: Any
    """``[steps]``."""
    shown: Tensor
    """``[steps]``: the item at the place."""
    above: Tensor
    """``[steps, k]``: the items above it, and where there is none the item itself."""
    reward: Tensor
    """``[steps]``: its own, and where the session goes on unseen, all that the log earned by then."""
    following: Any
    """``[steps]``: the next slate of the session; -1 for none."""

    @classmethod
    def of(cls, found: Decisions, scores: Any, slate: Any, place: Any) -> Steps:
        """All filled places of the slates; those of a slate all lead to the next one."""
        shown = found.item[slate, place]
        above = found.item[slate]
        above = np.where(np.arange(above.shape[1]) < place[:, None], above, shown[:, None])
        known, goes_on = found.known, found.following[slate] >= 0
        # What the rest of a session earned stands with its first place; it is taken out where it can be learned.
        reward = found.reward[slate, place] - found.ahead[slate] * (place == 0)
        reward = reward + np.where(goes_on, 0.0, found.ahead[slate])
        return cls(
            _tensor(scores),
            _tensor(known.people),
            _tensor(known.items),
            _tensor(known.heads),
            slate,
            torch.from_numpy(shown),
            torch.from_numpy(above),
            _tensor(reward),
            found.following[slate],
        )


def _tensor(values: Any) -> Tensor:
    return torch.from_numpy(np.asarray(values, np.float32))


class Values(nn.Module):
    """What each item adds in a state, linear as in the policy, and what the state is worth, by a small net."""

    def __init__(self, steps: Steps, width: int) -> None:
        super().__init__()
        d, m, h = steps.people.shape[1], len(steps.items), steps.heads.shape[2]
        self.d = d
        self.pair, self.item = nn.Parameter(torch.zeros(1 + d + h)), nn.Parameter(torch.zeros(m))
        last = nn.Linear(width, 1)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.state = nn.Sequential(nn.Linear(d, width), nn.ReLU(), last)

    def forward(self, steps: Steps, slate: Any) -> Tensor:
        """Of each item in the states of some slates: ``[some, m]``."""
        people = steps.people[slate]
        own = (people * self.pair[1 : self.d + 1]) @ steps.items.T + steps.heads[slate] @ self.pair[self.d + 1 :]
        return own + self.pair[0] * steps.scores[slate] + self.item + self.state(people)

    def weights(self, scale: float) -> Weights:
        """What the items add, divided by ``scale``; the worth of a state is the same to all of them."""
        pair, item = (one.detach().numpy().astype(np.float64) / scale for one in (self.pair, self.item))
        return Weights(pair, item)


def loss(now: Values, past: Values, steps: Steps, rows: Any, discount: float, caution: float) -> Tensor:
    """Squared error of Bellman's equation by double Q-learning, and what items the log does not show are pressed down.

    ``past`` is the target network.
    """
    said = now(steps, steps.slate[rows])
    at, shown = torch.arange(len(rows)), steps.shown[rows]
    with torch.no_grad():
        after = steps.following[rows]
        there = torch.from_numpy(after >= 0)
        best = now(steps, np.maximum(after, 0)).argmax(1)
        worth = past(steps, np.maximum(after, 0))[at, best]
        aim = steps.reward[rows] + discount * torch.where(there, worth, 0.0)
    mine = said[at, shown]
    # What stands above in the slate is not to be had.
    taken = steps.above[rows]
    closed = torch.zeros_like(said).scatter(1, taken, CLOSED).scatter(1, shown[:, None], 0.0)
    pressed = torch.logsumexp(said + closed, 1) - mine
    return ((mine - aim) ** 2).mean() + caution * pressed.mean()


@torch.no_grad()
def follow(past: Values, now: Values, share: float) -> None:
    """Move the target network by a share of the way."""
    for old, new in zip(past.parameters(), now.parameters(), strict=True):
        old.lerp_(new, share)
