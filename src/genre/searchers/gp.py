"""Bayesian search by a Gaussian process."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import PositiveInt

from genre.component import component
from genre.searchers import SpaceFacts

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler


@component
class GP:
    """Bayesian search: fits a Gaussian process to what was measured and tries where the most can be gained.

    Learns the most from a few dozen trials of a few numbers; takes tenths of a second a trial, growing with their
    number. What only some choices have it draws at random: take `tpe` there. Snoek, Larochelle and Adams (2012),
    https://arxiv.org/abs/1206.2944.
    """

    start: PositiveInt = 10
    """Trials drawn at random before it learns; more look around longer."""

    def unfit(self, space: SpaceFacts) -> str | None:
        return None

    def sampler(self, space: SpaceFacts, seed: int) -> BaseSampler:
        from optuna.samplers import GPSampler

        return GPSampler(n_startup_trials=self.start, seed=seed, warn_independent_sampling=False)
