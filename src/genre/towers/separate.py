"""A tower for each task."""

from __future__ import annotations

from typing import TYPE_CHECKING

from genre.component import component

if TYPE_CHECKING:
    from torch import nn


@component
class Separate:
    """Every task has a small net of its own, so that none disturbs another; they share what lies below.

    The default. Tasks with few labels gain from sharing more: `shared_bottom`, or `mmoe` and `ple`, which learn what to
    share.
    """

    def build(self, width: int, dim: int, tasks: list[str]) -> nn.Module:
        from genre.towerlayers import SeparateTowers

        return SeparateTowers(width, dim, tasks)

    def width_of(self, width: int, dim: int) -> int:
        return dim
