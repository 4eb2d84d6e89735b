"""Estimators: what a policy would have earned, from a log that another policy wrote."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from genre.types import Bools, Ints

Doubles = NDArray[np.float64]


@dataclass(frozen=True)
class Evidence:
    """``n`` logged slates of ``k`` places at most; the places that a shorter one lacks have probability 1, reward 0."""

    reward: Doubles
    """``[n, k]``: what each place earned."""
    logged: Doubles
    """``[n, k]``: probability of the shown item at its place, given those above it, when the log was written."""
    target: Doubles
    """``[n, k]``: the same by the policy that is judged."""
    predicted: Doubles | None = None
    """``[n, k]``: reward that a model expects of the shown item at its place, which must not have seen the slate."""
    expected: Doubles | None = None
    """``[n, k]``: reward that it expects at a place if the judged policy fills it, given those above it."""
    outlook: Doubles | None = None
    """``[n, k]``: the same if the judged policy fills the places above too; as ``expected`` where none is given."""
    logged_there: Doubles | None = None
    """``[n, k]``: as ``logged``, but whatever stands above; the same where places are filled independently."""
    target_there: Doubles | None = None
    """``[n, k]``: as ``target``, likewise."""
    person: Ints = field(default_factory=lambda: np.zeros(0, dtype=np.int32))
    """``[n]``: who was shown each slate; slates of one person are no independent evidence."""

    def __post_init__(self) -> None:
        if not len(self.person):
            object.__setattr__(self, "person", np.arange(len(self.reward), dtype=np.int32))

    def __len__(self) -> int:
        return len(self.reward)

    @property
    def weights(self) -> Doubles:
        """How much likelier the judged policy shows each slate: ``[n]``."""
        return (self.target / self.logged).prod(1)

    def where(self, mask: Bools) -> Evidence:
        """The slates where ``mask`` is true."""
        kept: dict[str, Any] = {name: None if one is None else one[mask] for name, one in vars(self).items()}
        return Evidence(**kept)


@dataclass(frozen=True)
class Estimate:
    """A value, as the ratio of two means, and how much each slate bears on it."""

    top: Doubles
    """``[n]``."""
    bottom: Doubles
    """``[n]``: ones where the value is a mean."""
    weights: Doubles
    """``[n]``: what the rewards were multiplied by, in the end: of the last place of a slate."""

    @classmethod
    def mean(cls, terms: Doubles, weights: Doubles) -> Estimate:
        """The mean of ``terms``."""
        return cls(terms, np.ones(len(terms)), weights)

    @property
    def value(self) -> float:
        """Mean reward of a slate."""
        bottom = self.bottom.sum()
        return float(self.top.sum() / bottom) if bottom else float("nan")

    @property
    def terms(self) -> Doubles:
        """``[n]``: numbers with the value as mean, whose spread is that of the value times the root of ``n``."""
        return self.value + (self.top - self.value * self.bottom) / max(float(self.bottom.mean()), 1e-300)


class Estimator(Protocol):
    """One way to estimate."""

    needs: ClassVar[Literal["propensities", "model", "both"]]
    """What it reads: the log's propensities, predictions of a reward model, or both."""

    def estimate(self, evidence: Evidence) -> Estimate:
        """The value of the judged policy: mean reward of a slate."""
        ...
