"""Stop what is worse than half of the others."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import NonNegativeInt, PositiveInt

from genre.component import component

if TYPE_CHECKING:
    from optuna.pruners import BasePruner


@component
class Median:
    """Stops a trial whose best so far is below the median of what earlier trials had at the same epoch.

    Careful, and right for a few dozen trials; `halving` and `hyperband` stop more and sooner. Golovin et al., Google
    Vizier (2017), https://doi.org/10.1145/3097983.3098043.
    """

    start: PositiveInt = 5
    """Trials that end by themselves first; more judge by a steadier median."""
    warmup: NonNegativeInt = 2
    """Epochs of each trial in which it is left alone; more let what starts slowly get going."""

    def make(self, epochs: int) -> BasePruner:
        from optuna.pruners import MedianPruner

        return MedianPruner(n_startup_trials=self.start, n_warmup_steps=self.warmup)

    def share(self, epochs: int) -> float:
        # Half go at the first look, and of the others half at each further one, as what they are beside is ever better.
        return min(1.0, (max(1, self.warmup) + 1) / epochs)

    def spared(self) -> int:
        return self.start
