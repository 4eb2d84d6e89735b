"""A yes or no about an interaction."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import NonNegativeFloat

from genre.component import component
from genre.heads import Examples

if TYPE_CHECKING:
    from torch import Tensor, nn


@component
class Binary:
    """Whether something holds of an interaction (a click, a like, four stars): log-loss, predicts a probability.

    For an amount rather than a yes or no use `regression`.
    """

    predicts: ClassVar[Literal["binary"]] = "binary"
    label: str = "value >= 4"
    """A comparison on a column of the interactions: ``value >= 4``, ``action == 'click'``."""
    weight: NonNegativeFloat = 1.0
    """Share of this task in the total loss; larger learns it first."""

    def build(self, dim: int, label_mean: float, label_std: float) -> nn.Module:
        import math

        from genre.layers import PairNet

        share = min(max(label_mean, 1e-4), 1 - 1e-4)
        return PairNet(dim, mean=math.log(share / (1 - share)), std=1.0)

    def loss(self, module: nn.Module, examples: Examples) -> Tensor:
        from torch.nn import functional

        rows = (~examples.labels.isnan()).nonzero().squeeze(-1)
        if not len(rows):
            return examples.users.sum() * 0.0
        logits = module(examples.users[rows], examples.items[rows])
        return functional.binary_cross_entropy_with_logits(logits, examples.labels[rows])

    def predict(self, module: nn.Module, users: Tensor, items: Tensor) -> Tensor:
        return module(users, items).sigmoid()
