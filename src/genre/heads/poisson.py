"""How often."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import NonNegativeFloat

from genre.component import component
from genre.errors import GenreError
from genre.heads import Examples, LabelFacts, Language, known

if TYPE_CHECKING:
    from torch import Tensor, nn


@component
class Poisson:
    """A count, such as plays or helpful votes: half the Poisson deviance of its logarithm.

    Large counts do not drown small ones as in `regression`, and what it predicts is never negative.
    McCullagh and Nelder (1989), https://doi.org/10.1007/978-1-4899-3242-6.
    """

    predicts: ClassVar[Literal["regression"]] = "regression"
    reads: ClassVar[Literal["features"]] = "features"
    label: str = "value"
    """A column of the interactions with amounts from 0."""
    weight: NonNegativeFloat = 1.0
    """Share of this task in the total loss; larger learns it first."""

    def build(self, dim: int, label: LabelFacts, language: Language | None) -> nn.Module:
        import math

        from genre.layers import Scaled

        least = min(label.classes, default=label.mean)
        if least < 0:
            raise GenreError(f"poisson: '{self.label}' is {least:g} in training, and a count is 0 or more")
        return Scaled(dim, mean=math.log(max(label.mean, 1e-3)), std=1.0)

    def loss(self, module: Any, examples: Examples) -> Tensor:
        import torch

        rows = known(examples)
        if not len(rows):
            return examples.features.sum() * 0.0
        logs, counts = module(examples.features[rows]), examples.labels[rows]
        # Less what the best answer would cost, so that it is 0 there: balancers compare losses.
        return (logs.exp() - counts * logs + torch.xlogy(counts, counts) - counts).mean()

    def predict(self, module: Any, examples: Examples) -> Tensor:
        return module(examples.features).exp()
