"""A yes or no about an interaction."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat

from genre.component import component
from genre.errors import GenreError
from genre.heads import Counted, Examples, LabelFacts, Language, Link, known, one_token, started

if TYPE_CHECKING:
    from torch import Tensor, nn


@component
class Binary:
    """Whether something holds of an interaction (a click, a like, four stars): log-loss, predicts a probability.

    For an amount rather than a yes or no use `regression`, for the order within a list that was shown `listwise`.
    With ``words`` a decoder starts from its own answer to a prompt that asks, instead of from nothing: Schick and
    Schuetze, PET (2021), https://arxiv.org/abs/2001.07676. It is then read at the end of the prompt
    (``model.pooling: last``).
    """

    predicts: ClassVar[Literal["binary"]] = "binary"
    reads: ClassVar[Literal["features"]] = "features"
    link: ClassVar[Link] = "logit"
    label: str = "value >= 4"
    """A comparison on a column of the interactions: ``value >= 4``, ``action == 'click'``."""
    weight: NonNegativeFloat = 1.0
    """Share of this task in the total loss; larger learns it first."""
    smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of each label that is spread over both answers, for labels that are sometimes wrong; larger dares less."""
    positive_weight: PositiveFloat | Literal["balanced"] = 1.0
    """How often a yes counts; ``balanced``: as often as makes both weigh the same. Larger misses fewer of a rare yes,
    and the probabilities promise too much."""
    words: tuple[str, str] | None = None
    """A decoder's words for yes and no, such as ``["yes", "no"]``: the head starts as the difference of their output
    vectors. Each must be one token, after a blank or as it stands; needs ``model.towers: direct``."""
    offset: tuple[Counted, ...] = ()
    """What it starts from instead of the overall mean, so that few examples make it no worse than counting: the share
    of the ``item``, of the ``user`` (in the history), and, beside that, ``text``: how alike the item's text is to those
    of what they labelled high or low, by the language model as it came. Counted in the training part and shrunk. For
    `text` (``item`` alone, as it reads no history) and `cross`."""

    def build(self, dim: int, label: LabelFacts, language: Language | None) -> nn.Module:
        import math

        from genre.layers import LogOdds

        share = min(max(label.mean, 1e-4), 1 - 1e-4)
        yes = (1 - share) / share if self.positive_weight == "balanced" else self.positive_weight
        if self.words is None:
            # An offset says of each row what its share is.
            odds = share / (1 - share) if not self.offset else 1.0
            return LogOdds(dim, math.log(yes * odds), yes)
        return LogOdds(dim, 0.0, yes, None if language is None else self._towards(dim, self.words, language))

    def _towards(self, dim: int, words: tuple[str, str], language: Language) -> Tensor:
        """What the language model's answer yes has more than its no."""
        if language.vocabulary is None:
            raise GenreError("words: this language model is an encoder, which says no words; take a decoder")
        if dim != language.hidden_size:
            raise GenreError(
                f"words: the head is given {dim} features, and words have {language.hidden_size}; set model.towers: "
                "direct, with model.formulation text or cross"
            )
        yes, no = (one_token(word, language) for word in words)
        if yes == no:
            raise GenreError(f"words: {words[0]!r} and {words[1]!r} are the same token; take words that differ")
        return (language.vocabulary[yes] - language.vocabulary[no]).detach().float()

    def loss(self, module: Any, examples: Examples) -> Tensor:
        import torch
        from torch.nn import functional

        rows = known(examples)
        if not len(rows):
            return examples.features.sum() * 0.0
        labels = examples.labels[rows] * (1 - self.smoothing) + self.smoothing / 2
        yes = torch.tensor(module.yes)
        logits = started(module(examples.features), examples)[rows]
        return functional.binary_cross_entropy_with_logits(logits, labels, pos_weight=yes)

    def predict(self, module: Any, examples: Examples) -> Tensor:
        return started(module(examples.features), examples).sigmoid()
