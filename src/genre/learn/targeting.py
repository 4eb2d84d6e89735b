"""What a policy would have done in logged slates, as evidence for the estimators."""

from __future__ import annotations

import numpy as np

from genre.estimators import Doubles, Evidence
from genre.learn.deciding import marginals
from genre.learn.decisions import Decisions
from genre.learn.rewardmodel import RewardModel
from genre.policies import Policy
from genre.types import State

DRAWS = 8
"""Slates drawn for each logged one of several places, to see what the policy would have put above each place."""
BLOCK = 256


def evidence(found: Decisions, policy: Policy, state: State, seed: int = 0) -> tuple[Evidence, Doubles]:
    """Evidence on a policy from slates that it has not learned from, and how often it shows each item: ``[m]``."""
    model, (n, k) = RewardModel.of(found), found.item.shape
    target, predicted = np.ones((n, k)), np.zeros((n, k))
    expected, outlook = np.zeros((n, k)), np.zeros((n, k))
    exposure, rng = np.zeros(len(found.catalogue)), np.random.default_rng(seed)
    rewards = below = np.zeros((0, 0))
    for row in range(n):
        if row % BLOCK == 0:
            block = np.arange(row, min(row + BLOCK, n))
            rewards, below = model.predict(found.known, block), model.below(block)
        here, added = rewards[row % BLOCK], below[row % BLOCK]
        arms, length = found.arms(row), int(found.shown[row].sum())
        draw, still = policy.draw(state, arms), np.ones(len(arms), dtype=bool)
        for place in range(length):
            one, said = found.item[row, place], draw(still)
            target[row, place] = said[one]
            predicted[row, place] = here[one] + added[place]
            expected[row, place] = said @ here + added[place]
            still[one] = False
        if length > 1:
            there = marginals(policy, state, arms, length, rng, DRAWS)
            outlook[row, :length] = there @ here + added[:length]
            exposure += there.sum(0)
        else:
            outlook[row, 0] = expected[row, 0]
            exposure += draw(np.ones(len(arms), dtype=bool))
    made = Evidence(found.reward, found.propensity, target, predicted, expected, outlook, person=found.known.person)
    return made, exposure / exposure.sum()
