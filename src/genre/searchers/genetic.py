"""Search by crossing and mutating."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from genre.component import component
from genre.searchers import SpaceFacts

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler


@component
class Genetic:
    """Crosses and mutates the best trials of a generation, where none is beaten in every objective by another.

    For several objectives, and for many trials at once; with one objective and few trials `tpe` is faster to learn.
    NSGA-II: Deb et al. (2002), https://doi.org/10.1109/4235.996017; NSGA-III: Deb and Jain (2014),
    https://doi.org/10.1109/TEVC.2013.2281535.
    """

    algorithm: Literal["nsga2", "nsga3"] = "nsga2"
    """How the best of a generation are told: by how far apart they lie (nsga2), or by how near to directions spread
    evenly over all trade-offs (nsga3), which is better for three objectives and more."""
    population: Annotated[int, Field(ge=2)] = 10
    """Trials of a generation; more keep more variety and take longer to learn."""
    crossover: Annotated[float, Field(ge=0, le=1)] = 0.9
    """Share of the trials with two parents; the others have one."""

    def unfit(self, space: SpaceFacts) -> str | None:
        return None

    def sampler(self, space: SpaceFacts, seed: int) -> BaseSampler:
        from optuna.samplers import NSGAIIISampler, NSGAIISampler

        made = NSGAIISampler if self.algorithm == "nsga2" else NSGAIIISampler
        return made(population_size=self.population, crossover_prob=self.crossover, seed=seed)
