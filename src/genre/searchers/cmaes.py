"""Search by a normal distribution that moves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import PositiveFloat, PositiveInt

from genre.component import component
from genre.errors import GenreError
from genre.searchers import SpaceFacts

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler


@component
class CMAES:
    """Draws from a normal distribution that moves and stretches to where trials were good; for numbers alone.

    Strong on many real values that hang together and a hundred trials or more; begins at the defaults. Needs the extra
    `tune`. Hansen and Ostermeier (2001), https://doi.org/10.1162/106365601750190398.
    """

    width: PositiveFloat | None = None
    """Width of the first draws, as a share of each interval; a sixth unless given. Larger looks further around."""
    population: PositiveInt | None = None
    """Trials of a generation; by the number of values unless given. More are steadier and slower."""

    def unfit(self, space: SpaceFacts) -> str | None:
        if space.objectives > 1:
            return "cmaes serves one objective; take genetic or tpe for several"
        if space.choices:
            return "cmaes moves numbers alone, and the space has choices; take tpe or genetic"
        return "cmaes needs two numbers or more; take gp for one" if space.parameters < 2 else None

    def sampler(self, space: SpaceFacts, seed: int) -> BaseSampler:
        import importlib.util

        from optuna.samplers import CmaEsSampler

        if importlib.util.find_spec("cmaes") is None:
            raise GenreError("search.searcher: cmaes is not installed; pip install 'genre-recommender[tune]'")
        return CmaEsSampler(
            sigma0=self.width, popsize=self.population, with_margin=True, seed=seed, warn_independent_sampling=False
        )
