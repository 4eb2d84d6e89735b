"""Every combination."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import PositiveInt

from genre.component import component
from genre.searchers import SpaceFacts

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler


@component
class Grid:
    """Tries every combination in the order of the file, as far as the trials reach; the defaults come first.

    What only some choices have is combined with these alone. Take it for a few values of which a whole table is wanted;
    for more, `random` finds as good a value in fewer trials.
    """

    points: PositiveInt = 3
    """Values of an interval without a step, both ends in; more are finer and multiply the trials."""

    def unfit(self, space: SpaceFacts) -> str | None:
        return None

    def sampler(self, space: SpaceFacts, seed: int) -> BaseSampler:
        from optuna.samplers import RandomSampler

        # All points are planned before the first trial; the sampler is never asked.
        return RandomSampler(seed=seed)

    @property
    def points_per_interval(self) -> int:
        """Values of an interval without a step."""
        return self.points
