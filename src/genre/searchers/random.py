"""Values drawn without memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from genre.component import component
from genre.searchers import SpaceFacts

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler


@component
class Random:
    """Draws every value by itself, evenly over its interval or its choices: what every other searcher must beat.

    Take it where trials run at once in large numbers, or to see how much of a result is luck. Bergstra and Bengio,
    Random Search for Hyper-Parameter Optimization (2012), https://jmlr.org/papers/v13/bergstra12a.html.
    """

    def unfit(self, space: SpaceFacts) -> str | None:
        return None

    def sampler(self, space: SpaceFacts, seed: int) -> BaseSampler:
        from optuna.samplers import RandomSampler

        return RandomSampler(seed=seed)
