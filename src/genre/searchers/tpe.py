"""Bayesian search by densities of good and bad values."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import PositiveInt

from genre.component import component
from genre.searchers import SpaceFacts

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler


@component
class TPE:
    """Bayesian search (tree-structured Parzen estimator): draws where good trials were dense and bad ones were not.

    Takes every space, conditional ones and several objectives too: the one to begin with. `gp` learns more from each
    trial where there are few and the values are numbers. Bergstra et al., Algorithms for Hyper-Parameter Optimization
    (2011), https://papers.nips.cc/paper/4443; Watanabe (2023), https://arxiv.org/abs/2304.11127.
    """

    start: PositiveInt = 10
    """Trials drawn at random before it learns; more look around longer."""
    together: bool = True
    """Whether values are drawn together, so that it learns what goes with what, rather than each by itself."""
    candidates: PositiveInt = 24
    """Values drawn for each one tried; more keep closer to what was good."""

    def unfit(self, space: SpaceFacts) -> str | None:
        return None

    def sampler(self, space: SpaceFacts, seed: int) -> BaseSampler:
        from optuna.samplers import TPESampler

        return TPESampler(
            n_startup_trials=self.start,
            n_ei_candidates=self.candidates,
            multivariate=self.together,
            group=self.together and space.conditional > 0,
            constant_liar=True,
            seed=seed,
            warn_independent_sampling=False,
        )
