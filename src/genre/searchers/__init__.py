"""Searchers: which values a search tries next, from how good earlier ones were.

They are those of Optuna 5, which has all four ways of the field (grid, random, Bayesian, genetic) behind one interface,
with conditional spaces, several objectives, pruning, and a store that survives a kill or is shared by machines.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler


@dataclass(frozen=True)
class SpaceFacts:
    """What a searcher needs to know of a space before it begins."""

    parameters: int
    choices: int
    """Of them those that are choices rather than numbers."""
    conditional: int
    """Of them those that only some choices have."""
    objectives: int


class Searcher(Protocol):
    """One way to search."""

    def unfit(self, space: SpaceFacts) -> str | None:
        """Why it cannot search such a space, and what to take instead; None if it can."""
        ...

    def sampler(self, space: SpaceFacts, seed: int) -> BaseSampler:
        """The Optuna sampler. ``grid`` has one method more: ``points_per_interval``, for what is tried in order."""
        ...
