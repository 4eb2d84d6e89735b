"""Experts of all and experts of one task, level by level."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import PositiveInt

from genre.component import component

if TYPE_CHECKING:
    from torch import nn


@component
class PLE:
    """Every task has experts of its own beside those that all share, and levels part the tasks step by step.

    For tasks of which one gains by sharing at another's cost; with two alike `mmoe` does as well and is cheaper.
    Progressive layered extraction; Tang et al. (2020), https://doi.org/10.1145/3383313.3412236.
    """

    shared: PositiveInt = 2
    """Experts of a level that all tasks read; more share more."""
    own: PositiveInt = 1
    """Experts of a level that a task has for itself; more disturb each other less, and learn from fewer labels."""
    levels: PositiveInt = 2
    """Levels of experts; with more the tasks part later and more gradually."""
    hidden: PositiveInt = 128
    """Values that an expert gives; more hold more and over-fit sooner."""

    def build(self, width: int, dim: int, tasks: list[str]) -> nn.Module:
        from genre.towerlayers import MixtureTowers

        return MixtureTowers(width, dim, tasks, self.hidden, self.shared, self.own, self.levels)

    def width_of(self, width: int, dim: int) -> int:
        return dim
