"""A policy playing in a world: what it shows, what that earns, and what the best would have earned."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from genre.environments import Doubles, World
from genre.learn.deciding import choose
from genre.learn.knowledge import Knowledge, Standing
from genre.policies import Arms, Feedback, Policy
from genre.types import Ints, State

FEATURES = 3
"""Numbers of a context before the topics."""


@dataclass
class Played:
    """What came of it, a number a round."""

    regret: Doubles
    """What the best slate earns on average, less what the shown one does."""
    reward: Doubles
    best: Doubles
    visit: Ints
    """How often the person had come before."""
    new: Doubles
    """Share of the slate's places with items that nobody had before."""


@dataclass
class Table:
    """Where people sit: what each has been shown, and what came of it so far."""

    world: World
    knowledge: Knowledge
    items: dict[int, list[int]] = field(default_factory=dict)
    rewards: dict[int, list[float]] = field(default_factory=dict)
    had: dict[int, list[int]] = field(default_factory=dict)
    standing: Standing = field(init=False)
    """What each item is worth to someone unknown, by now."""

    def __post_init__(self) -> None:
        self.standing = Standing(self.knowledge)

    def arms(self, person: int) -> Arms:
        """What can be shown to a person now, not having been before."""
        still = self.world.known(person).copy()
        still[self.had.get(person, [])] = False
        item = np.flatnonzero(still).astype(np.int32)
        known = self.knowledge
        standing = self.standing.values()
        taste, level = self._person(person, standing)
        own = known.factors[item] @ taste
        scores = standing[item] + level + own
        columns = [standing[item][:, None], own[:, None], np.full((len(item), 1), level), known.topics[item]]
        return Arms(item, scores, np.concatenate(columns, 1))

    def show(self, person: int, item: Any) -> None:
        """A person has had these items."""
        self.had.setdefault(person, []).extend(int(one) for one in item)

    def earn(self, person: int, item: Any, reward: Any) -> None:
        """Their feedback has come."""
        item = np.asarray(item, dtype=np.int64)
        taste, level = self._person(person, self.standing.values())
        self.items.setdefault(person, []).extend(item.tolist())
        self.rewards.setdefault(person, []).extend(float(one) for one in reward)
        # What this person likes more than others do is not what the item is worth to others.
        self.standing.add(item, np.asarray(reward, np.float64) - level - self.knowledge.factors[item] @ taste)

    def _person(self, person: int, standing: Doubles) -> tuple[Doubles, float]:
        before = np.array(self.items.get(person, []), dtype=np.int64)
        reward = np.array(self.rewards.get(person, []), dtype=np.float64)
        return self.knowledge.person(before, reward - standing[before])


def play(
    world: World, policy: Policy, knowledge: Knowledge, slate: int, seed: int, before: Feedback | None = None
) -> Played:
    """Play all rounds of a world from the beginning; a policy may have learned from feedback ``before``."""
    rng, table = np.random.default_rng([seed, 17]), Table(world, knowledge)
    state: State = policy.start(len(world.new), FEATURES + knowledge.topics.shape[1])
    state = state if before is None else policy.update(state, before)
    rounds = len(world.order)
    regret, earned, best, new = (np.zeros(rounds) for _ in range(4))
    visit, visits = np.zeros(rounds, dtype=np.int32), np.zeros(len(world.expected), dtype=np.int32)
    waiting: deque[tuple[int, int, Feedback]] = deque()
    for at, person in enumerate(world.order.tolist()):
        while waiting and waiting[0][0] <= at:
            _, who, told = waiting.popleft()
            table.earn(who, told.item, told.reward)
            state = policy.update(state, told)
        arms = table.arms(person)
        visit[at], visits[person] = visits[person], visits[person] + 1
        chosen = choose(policy, state, arms, slate, rng)
        if not len(chosen.places):
            continue
        item = arms.item[chosen.places]
        truth = world.now(person, at)
        reward = world.reward(person, item, at, rng)
        place = np.arange(len(item), dtype=np.int32)
        told = Feedback(
            item, reward, arms.contexts[chosen.places], arms.scores[chosen.places], place, np.full(len(item), at)
        )
        table.show(person, item)
        waiting.append((at + 1 + world.delay, person, told))
        top = np.sort(truth[arms.item])[::-1][: len(item)].sum()
        regret[at], earned[at], best[at] = top - truth[item].sum(), reward.sum(), top
        new[at] = world.new[item].mean()
    return Played(regret, earned, best, visit, new)
