"""A policy playing in a world: what it shows, what that earns, and what the best would have earned."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from genre.environments import Doubles, World
from genre.learn.deciding import choose
from genre.learn.knowledge import Knowledge
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
    earned: Doubles = field(default_factory=lambda: np.zeros(0))
    """``[items]``: sum and, in ``times``, number of the rewards that came in, from anyone."""
    times: Doubles = field(default_factory=lambda: np.zeros(0))

    def __post_init__(self) -> None:
        self.earned, self.times = (np.zeros(len(self.world.new)) for _ in range(2))

    @property
    def standing(self) -> Doubles:
        """``[items]``: what each is expected to earn from someone unknown, by now."""
        before = self.knowledge
        return (before.standing * before.worth + self.earned) / (before.worth + self.times)

    def arms(self, person: int) -> Arms:
        """What can be shown to a person now, not having been before."""
        still = self.world.known(person).copy()
        still[self.had.get(person, [])] = False
        item = np.flatnonzero(still).astype(np.int32)
        known = self.knowledge
        standing, before = self.standing, np.array(self.items.get(person, []), dtype=np.int64)
        reward = np.array(self.rewards.get(person, []), dtype=np.float64)
        taste, level = known.person(before, reward - standing[before])
        own = known.factors[item] @ taste
        scores = standing[item] + level + own
        columns = [standing[item][:, None], own[:, None], np.full((len(item), 1), level), known.topics[item]]
        return Arms(item, scores, np.concatenate(columns, 1))

    def show(self, person: int, item: Any) -> None:
        """A person has had these items."""
        self.had.setdefault(person, []).extend(int(one) for one in item)

    def earn(self, person: int, item: Any, reward: Any) -> None:
        """Their feedback has come."""
        self.items.setdefault(person, []).extend(int(one) for one in item)
        self.rewards.setdefault(person, []).extend(float(one) for one in reward)
        np.add.at(self.earned, np.asarray(item, dtype=np.int64), reward)
        np.add.at(self.times, np.asarray(item, dtype=np.int64), 1.0)


def play(world: World, policy: Policy, knowledge: Knowledge, slate: int, seed: int) -> Played:
    """Play all rounds of a world from the beginning."""
    rng, table = np.random.default_rng([seed, 17]), Table(world, knowledge)
    state: State = policy.start(len(world.new), FEATURES + knowledge.topics.shape[1])
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
