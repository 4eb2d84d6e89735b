"""An amount of an interaction."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import NonNegativeFloat

from genre.component import component
from genre.heads import Examples

if TYPE_CHECKING:
    from torch import Tensor, nn


@component
class Regression:
    """How much: stars, seconds of reading, plays. Squared error, in units of the label's deviation.

    For a yes or no use `binary`.
    """

    predicts: ClassVar[Literal["regression"]] = "regression"
    label: str = "value"
    """A numeric column of the interactions."""
    weight: NonNegativeFloat = 1.0
    """Share of this task in the total loss; larger learns it first."""

    def build(self, dim: int, label_mean: float, label_std: float) -> nn.Module:
        from genre.layers import PairNet

        return PairNet(dim, label_mean, label_std or 1.0)

    def loss(self, module: nn.Module, examples: Examples) -> Tensor:
        from torch.nn import functional

        rows = (~examples.labels.isnan()).nonzero().squeeze(-1)
        if not len(rows):
            return examples.users.sum() * 0.0
        predicted = module(examples.users[rows], examples.items[rows])
        return functional.mse_loss(predicted, examples.labels[rows]) / module.std**2  # type: ignore[operator]

    def predict(self, module: nn.Module, users: Tensor, items: Tensor) -> Tensor:
        return module(users, items)
