"""What the words of a text are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field, NonNegativeFloat

from genre.component import component
from genre.errors import GenreError
from genre.heads import Examples, LabelFacts, Language

if TYPE_CHECKING:
    from torch import Tensor, nn


@component
class Token:
    """Places in a text, such as names or product features: for every token whether it is outside, first or inside.

    BIO tagging: class 0 is outside, 1 + 2k the first token of a place with label k, 2 + 2k one that continues it.
    Predicts the probability of each class. Ramshaw and Marcus (1995), https://arxiv.org/abs/cmp-lg/9505040.
    """

    predicts: ClassVar[Literal["tokens"]] = "tokens"
    reads: ClassVar[Literal["tokens"]] = "tokens"
    label: str = "spans"
    """A column of the interactions with the places in each text, ``start:end:label``, characters counted from 0."""
    weight: NonNegativeFloat = 1.0
    """Share of this task in the total loss; larger learns it first."""
    smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of each label that is spread over all classes, for places that are sometimes missed; larger dares less."""

    def build(self, dim: int, label: LabelFacts, language: Language | None) -> nn.Module:
        from torch import nn

        if not label.names:
            raise GenreError(f"token: no training row has a place in '{self.label}'; write them as start:end:label")
        module = nn.Linear(dim, 1 + 2 * len(label.names))
        nn.init.zeros_(module.weight)
        nn.init.zeros_(module.bias)
        return module

    def loss(self, module: Any, examples: Examples) -> Tensor:
        from torch.nn import functional

        assert examples.tokens is not None
        known = examples.tokens.labels >= 0
        if not known.any():
            return examples.tokens.states.sum() * 0.0
        scores = module(examples.tokens.states[known])
        return functional.cross_entropy(scores, examples.tokens.labels[known], label_smoothing=self.smoothing)

    def counts(self, module: Any, examples: Examples) -> float:
        assert examples.tokens is not None
        return float((examples.tokens.labels >= 0).sum())

    def predict(self, module: Any, examples: Examples) -> Tensor:
        assert examples.tokens is not None
        return module(examples.tokens.states).softmax(-1)
