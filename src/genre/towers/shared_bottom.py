"""One net below all tasks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import PositiveInt

from genre.component import component

if TYPE_CHECKING:
    from torch import nn


@component
class SharedBottom:
    """All tasks read one net, and each has a small one on top: the most sharing.

    Take it when tasks are alike, or one has few labels and should lean on the others; where tasks pull apart they
    disturb each other here, and `mmoe` lets them part. Caruana (1997), https://doi.org/10.1023/A:1007379606734.
    """

    hidden: PositiveInt = 256
    """Values of the net that all share; more hold what every task needs, fewer make the tasks agree."""

    def build(self, width: int, dim: int, tasks: list[str]) -> nn.Module:
        from genre.towerlayers import SharedBottom as Net

        return Net(width, dim, tasks, self.hidden)

    def width_of(self, width: int, dim: int) -> int:
        return dim
