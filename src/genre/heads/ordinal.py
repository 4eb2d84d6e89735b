"""A grade."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import NonNegativeFloat

from genre.component import component
from genre.errors import GenreError
from genre.heads import MOST_CLASSES, Examples, LabelFacts, Language, known

if TYPE_CHECKING:
    from torch import Tensor, nn


@component
class Ordinal:
    """A grade, such as stars: for every step of the scale, whether the label is above it. Predicts the label's mean.

    One score is held against thresholds that are learned and stay in order, so that the steps need not be equally far
    apart, as `regression` takes them to be; `multiclass` takes grades for unlike things. Cao et al., CORAL (2020),
    https://arxiv.org/abs/1901.07884.
    """

    predicts: ClassVar[Literal["regression"]] = "regression"
    reads: ClassVar[Literal["features"]] = "features"
    label: str = "value"
    """A numeric column of the interactions with few distinct values."""
    weight: NonNegativeFloat = 1.0
    """Share of this task in the total loss; larger learns it first."""

    def build(self, dim: int, label: LabelFacts, language: Language | None) -> nn.Module:
        import torch

        from genre.layers import Thresholds

        if len(label.classes) < 2:
            why = f"there is one, or there are more than {MOST_CLASSES}; take regression"
            raise GenreError(f"ordinal: '{self.label}' has no grades in training: {why}")
        return Thresholds(dim, torch.tensor(label.classes), torch.tensor(label.counts, dtype=torch.float32))

    def loss(self, module: Any, examples: Examples) -> Tensor:
        from torch.nn import functional

        rows = known(examples)
        if not len(rows):
            return examples.features.sum() * 0.0
        above = examples.labels[rows, None] > module.classes[:-1]
        return functional.binary_cross_entropy_with_logits(module(examples.features[rows]), above.float())

    def predict(self, module: Any, examples: Examples) -> Tensor:
        return module.expected(examples.features)
