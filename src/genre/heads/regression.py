"""An amount of an interaction."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import NonNegativeFloat

from genre.component import component
from genre.heads import Examples, LabelFacts, Language, known

if TYPE_CHECKING:
    from torch import Tensor, nn


@component
class Regression:
    """How much: stars, seconds of reading, plays. Squared error, in units of the label's deviation.

    For a yes or no use `binary`, for grades such as stars `ordinal`, for counts that reach far `poisson`.
    """

    predicts: ClassVar[Literal["regression"]] = "regression"
    reads: ClassVar[Literal["features"]] = "features"
    label: str = "value"
    """A numeric column of the interactions."""
    weight: NonNegativeFloat = 1.0
    """Share of this task in the total loss; larger learns it first."""

    def build(self, dim: int, label: LabelFacts, language: Language | None) -> nn.Module:
        from genre.layers import Scaled

        return Scaled(dim, label.mean, label.std or 1.0)

    def loss(self, module: Any, examples: Examples) -> Tensor:
        from torch.nn import functional

        rows = known(examples)
        if not len(rows):
            return examples.features.sum() * 0.0
        return functional.mse_loss(module(examples.features[rows]), examples.labels[rows]) / module.std**2

    def predict(self, module: Any, examples: Examples) -> Tensor:
        return module(examples.features)
