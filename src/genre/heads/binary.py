"""A yes or no about an interaction."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import NonNegativeFloat

from genre.component import component
from genre.heads import Examples, LabelFacts, Language, known

if TYPE_CHECKING:
    from torch import Tensor, nn


@component
class Binary:
    """Whether something holds of an interaction (a click, a like, four stars): log-loss, predicts a probability.

    For an amount rather than a yes or no use `regression`.
    """

    predicts: ClassVar[Literal["binary"]] = "binary"
    reads: ClassVar[Literal["features"]] = "features"
    label: str = "value >= 4"
    """A comparison on a column of the interactions: ``value >= 4``, ``action == 'click'``."""
    weight: NonNegativeFloat = 1.0
    """Share of this task in the total loss; larger learns it first."""

    def build(self, dim: int, label: LabelFacts, language: Language | None) -> nn.Module:
        import math

        from genre.layers import Scaled

        share = min(max(label.mean, 1e-4), 1 - 1e-4)
        return Scaled(dim, mean=math.log(share / (1 - share)), std=1.0)

    def loss(self, module: Any, examples: Examples) -> Tensor:
        from torch.nn import functional

        rows = known(examples)
        if not len(rows):
            return examples.features.sum() * 0.0
        return functional.binary_cross_entropy_with_logits(module(examples.features[rows]), examples.labels[rows])

    def predict(self, module: Any, examples: Examples) -> Tensor:
        return module(examples.features).sigmoid()
