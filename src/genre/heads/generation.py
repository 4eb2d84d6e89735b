"""A text that follows another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import NonNegativeFloat

from genre.component import component
from genre.errors import GenreError
from genre.heads import Examples, LabelFacts, Language

if TYPE_CHECKING:
    from torch import Tensor, nn


@component
class Generation:
    """The words that follow a text, such as a title or a summary: a decoder's own task, on your data.

    The mean log-loss of a token by the language model's output vectors, which stay as they are; predicts the mean
    log-likelihood of a token. As a second task it keeps a decoder a writer while other heads bend it, or teaches it the
    words of a catalogue. Radford et al., GPT (2018), trained its classifiers so:
    https://openai.com/index/language-unsupervised/.
    """

    predicts: ClassVar[Literal["text"]] = "text"
    reads: ClassVar[Literal["tokens"]] = "tokens"
    label: str = "title"
    """The text to be written: a column of the interactions, or a template over them, ``{title}, by {brand}``."""
    weight: NonNegativeFloat = 1.0
    """Share of this task in the total loss; larger learns it first."""

    def build(self, dim: int, label: LabelFacts, language: Language | None) -> nn.Module:
        from genre.layers import Words

        if language is None or language.vocabulary is None:
            raise GenreError("generation: an encoder does not write; take a decoder for model.backbone")
        return Words(language.vocabulary)

    def loss(self, module: Any, examples: Examples) -> Tensor:
        assert examples.tokens is not None
        known = examples.tokens.labels >= 0
        if not known.any():
            return examples.tokens.states.sum() * 0.0
        return -module(examples.tokens.states[known], examples.tokens.labels[known]).mean()

    def counts(self, module: Any, examples: Examples) -> float:
        assert examples.tokens is not None
        return float((examples.tokens.labels >= 0).sum())

    def predict(self, module: Any, examples: Examples) -> Tensor:
        assert examples.tokens is not None
        known = examples.tokens.labels >= 0
        found = examples.tokens.states.new_zeros(known.shape)
        if known.any():
            found[known] = module(examples.tokens.states[known], examples.tokens.labels[known])
        return found.sum(1) / known.sum(1)
