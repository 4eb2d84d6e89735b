"""Experts that each task weighs for itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import PositiveInt

from genre.component import component

if TYPE_CHECKING:
    from torch import nn


@component
class MMoE:
    """All tasks share a few nets, the experts, and each takes its own weighted mean of them, row by row.

    Between `shared_bottom` and `separate`: what to share is learned. Where tasks still disturb each other, `ple` keeps
    experts that only one task can reach. Ma et al. (2018), https://doi.org/10.1145/3219819.3220007.
    """

    experts: PositiveInt = 4
    """Nets to choose from; more let the tasks part further, and cost time."""
    hidden: PositiveInt = 128
    """Values that an expert gives; more hold more and over-fit sooner."""

    def build(self, width: int, dim: int, tasks: list[str]) -> nn.Module:
        from genre.towerlayers import MixtureTowers

        return MixtureTowers(width, dim, tasks, self.hidden, shared=self.experts)

    def width_of(self, width: int, dim: int) -> int:
        return dim
