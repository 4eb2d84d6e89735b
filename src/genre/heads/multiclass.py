"""One of several classes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field, NonNegativeFloat

from genre.component import component
from genre.errors import GenreError
from genre.heads import MOST_CLASSES, Examples, LabelFacts, Language, known

if TYPE_CHECKING:
    from torch import Tensor, nn


@component
class Multiclass:
    """Which of several classes: softmax cross-entropy, predicts the probability of each.

    For classes that have no order, such as topics; for grades such as stars use `ordinal`, which knows that four is
    nearer to five than one is. The classes are the values that training has; a value it lacks is not learned from.
    """

    predicts: ClassVar[Literal["multiclass"]] = "multiclass"
    reads: ClassVar[Literal["features"]] = "features"
    label: str = "value"
    """A column of the interactions with few distinct values, words or numbers."""
    weight: NonNegativeFloat = 1.0
    """Share of this task in the total loss; larger learns it first."""
    smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of each label that is spread over all classes, for labels that are sometimes wrong; larger dares less.
    Szegedy et al. (2016), https://arxiv.org/abs/1512.00567."""
    class_weights: Literal["none", "balanced"] = "none"
    """``balanced``: rows count so that every class weighs the same, however rare, which suits macro_f1; probabilities
    are then no longer shares."""

    def build(self, dim: int, label: LabelFacts, language: Language | None) -> nn.Module:
        import torch

        from genre.layers import ClassScores

        if len(label.classes) < 2:
            why = f"there is one, or there are more than {MOST_CLASSES}"
            raise GenreError(f"multiclass: '{self.label}' has no classes to tell apart in training: {why}")
        classes, counts = torch.tensor(label.classes), torch.tensor(label.counts, dtype=torch.float32)
        return ClassScores(dim, classes, counts, self.class_weights == "balanced")

    def loss(self, module: Any, examples: Examples) -> Tensor:
        from torch.nn import functional

        rows = known(examples)
        places = module.places(examples.labels[rows])
        rows, places = rows[places >= 0], places[places >= 0]
        if not len(rows):
            return examples.features.sum() * 0.0
        scores = module(examples.features[rows])
        return functional.cross_entropy(scores, places, weight=module.weights, label_smoothing=self.smoothing)

    def counts(self, module: Any, examples: Examples) -> float:
        places = module.places(examples.labels[known(examples)])
        return float(module.weights[places[places >= 0]].sum())

    def predict(self, module: Any, examples: Examples) -> Tensor:
        return module(examples.features).softmax(-1)
