"""Environments: worlds made from data in which policies act, with the right answer known."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from genre.types import Bools, Ints

Doubles = NDArray[np.float64]


@dataclass(frozen=True)
class World:
    """People who come one after the other, what every item is worth to each, and what was known before they came."""

    expected: Doubles
    """``[people, items]``: mean reward; NaN where it is not known, which is not offered."""
    noise: float
    """Standard deviation of a reward around it; negative where a reward is 0 or 1 with that probability."""
    past: Doubles
    """``[others, items]``: rewards of people who came before; NaN where unknown, and for every new item."""
    new: Bools
    """``[items]``: which items nobody has had before."""
    texts: tuple[str, ...]
    """``[items]``."""
    order: Ints
    """``[rounds]``: who comes in each round."""
    drift: float = 0.0
    """Share of an item's worth to a person that has become another person's by the last round."""
    delay: int = 0
    """Rounds between a slate and its feedback."""
    offered: Bools | None = None
    """``[items]``: which may be shown; all where none is given."""
    facts: dict[str, float] = field(default_factory=dict)
    """How true the world is to its data, where that is known."""

    def now(self, person: int, at: int) -> Doubles:
        """``[items]``: what items are worth to a person in a round."""
        own = self.expected[person]
        if not self.drift:
            return own
        share = self.drift * at / max(len(self.order) - 1, 1)
        return (1 - share) * own + share * self.expected[(person + 1) % len(self.expected)]

    def reward(self, person: int, item: Ints, at: int, rng: np.random.Generator) -> Doubles:
        """What a slate earns, place by place."""
        mean = self.now(person, at)[item]
        if self.noise < 0:
            return (rng.random(len(item)) < mean).astype(np.float64)
        return mean + self.noise * rng.standard_normal(len(item))

    def known(self, person: int) -> Bools:
        """``[items]``: which can be shown to a person, as their worth is known."""
        there = np.isfinite(self.expected[person])
        if self.drift:
            there &= np.isfinite(self.expected[(person + 1) % len(self.expected)])
        return there if self.offered is None else there & self.offered


class Environment(Protocol):
    """One kind of world."""

    def build(self, rounds: int, seed: int) -> World:
        """A world of so many rounds; its people, and who comes when, go by the seed. Raises `DataError`."""
        ...
