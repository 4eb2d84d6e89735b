"""Sessions as single decisions of many places, since what looks ahead cannot be judged one slate at a time."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from genre.estimators import Doubles, Evidence
from genre.learn.policyfitting import BLOCK, Held, Places, Weights, softmax

if TYPE_CHECKING:
    from genre.learn.decisions import Decisions


@dataclass(frozen=True)
class Sessions:
    """The filled places of slates, in order, by the session that they belong to."""

    session: Any
    """``[steps]``: its number."""
    at: Any
    """``[steps]``: which of the session's places it is."""
    slate: Any
    place: Any
    factor: Doubles
    """``[steps]``: the discount of its slate."""
    first: Any
    """``[sessions]``: the slate that begins each."""

    @classmethod
    def of(cls, found: Decisions) -> Sessions:
        """Of the slates, which are in the order of people and time."""
        begins = np.ones(len(found), dtype=bool)
        begins[found.following[found.following >= 0]] = False
        first = np.flatnonzero(begins)
        of_slate = np.cumsum(begins) - 1
        slate, place = np.nonzero(found.shown)
        session = of_slate[slate]
        at = np.arange(len(slate)) - np.searchsorted(session, session)
        factor = found.discount ** (slate - first[session]).astype(np.float64)
        return cls(session, at, slate, place, factor, first)

    def table(self, values: Doubles, empty: float) -> Doubles:
        """Values of the steps by session: ``[sessions, longest]``."""
        made = np.full((len(self.first), int(self.at.max(initial=-1)) + 1), empty)
        made[self.session, self.at] = values
        return made


def with_own_rewards(found: Decisions) -> Decisions:
    """The same slates, each with what it earned itself."""
    reward = found.reward.copy()
    reward[:, 0] -= found.ahead
    return replace(found, reward=reward)


def by_session(found: Decisions, made: Evidence) -> Evidence:
    """Evidence on slates with their own rewards, as that on sessions, discounted.

    Nothing is expected of places ahead (``outlook``): what was known there came of what the log showed before. Of the
    estimators `cascade_dr`, which is then the doubly robust one of each decision (Jiang and Li 2016,
    https://arxiv.org/abs/1511.03722), `ips` and `snips` are right of such evidence.
    """
    sessions = Sessions.of(found)
    rows = sessions.slate, sessions.place

    def table(values: Doubles | None, empty: float, factor: Doubles | float) -> Doubles:
        assert values is not None
        return sessions.table(values[rows] * factor, empty)

    reward = table(made.reward, 0.0, sessions.factor)
    return Evidence(
        reward,
        table(made.logged, 1.0, 1.0),
        table(made.target, 1.0, 1.0),
        table(made.predicted, 0.0, sessions.factor),
        table(made.expected, 0.0, sessions.factor),
        np.zeros_like(reward),
        person=made.person[sessions.first],
    )


def session_value(places: Places, weights: Weights, learner: Held) -> float:
    """What a session earns by a policy, discounted, less what the divergence of its places costs.

    Each decision is weighed by it and those before it, self-normalised; a session that is over earns nothing more.
    """
    found = with_own_rewards(places.found)
    sessions = Sessions.of(found)
    ratio, apart = np.zeros(len(places.slate)), np.zeros(len(places.slate))
    for start in range(0, len(ratio), BLOCK):
        rows = np.arange(start, min(start + BLOCK, len(ratio)))
        now, first = places.logits(rows, weights)
        chance, before = softmax(now), softmax(first)
        slate, place = places.slate[rows], places.place[rows]
        ratio[rows] = chance[np.arange(len(rows)), places.item[rows]] / found.propensity[slate, place]
        apart[rows] = (chance * (np.log(np.maximum(chance, 1e-300)) - np.log(np.maximum(before, 1e-300)))).sum(1)
    weight = np.minimum(np.cumprod(sessions.table(ratio, 1.0), 1), learner.most_weight)
    earned = sessions.table(found.reward[sessions.slate, sessions.place] * sessions.factor, 0.0)
    cost = sessions.table(apart * sessions.factor * learner.leash, 0.0)
    mean = (weight * earned).sum(0) / np.maximum(weight.sum(0), 1e-12)
    return float(mean.sum() - cost.sum(1).mean())
