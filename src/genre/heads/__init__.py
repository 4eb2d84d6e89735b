"""Task heads: what the model is asked, and how an answer is judged while training."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

from genre.errors import GenreError

if TYPE_CHECKING:
    from torch import Tensor, nn

Predicts = Literal["ranking", "binary", "regression", "multiclass", "tokens", "text", "nothing"]
"""What a head gives: a score to rank by, a probability, an amount, a probability of each class, the same of each token,
the likelihood of a text; ``nothing`` for a head that only shapes vectors."""
Reads = Literal["features", "vectors", "tokens"]
"""What a head needs: features of a row, which every formulation has; vectors of people and items (two_tower); states of
the tokens of a text (text)."""


@dataclass(frozen=True)
class LabelFacts:
    """What the training rows say of a head's label."""

    mean: float = 0.0
    std: float = 1.0
    classes: tuple[float, ...] = ()
    """The distinct values, sorted, where there are at most `MOST_CLASSES`; else empty."""
    counts: tuple[int, ...] = ()
    """Rows of each class."""
    names: tuple[str, ...] = ()
    """The classes in words, where the label is a column of words."""


MOST_CLASSES = 1000
Counted = Literal["item", "user", "text"]
"""What a head may start from beside the label's mean: how far the item's own is from it, how far the person's is in the
history, and how alike the item's text is to those of what the person labelled high or low."""
Link = Literal["logit", "identity", "log"]
"""How an amount becomes what a head's module answers."""


@dataclass(frozen=True)
class Language:
    """What heads that speak a language need of the language model."""

    hidden_size: int
    vocabulary: Tensor | None
    """``[words, hidden]``: a decoder's output vectors; None for an encoder."""
    number_of: Callable[[str], list[int]]
    """Token numbers of a text, without special tokens."""
    temperature: float = 0.05
    """Divides cosines in a contrastive loss, as the language model was trained; smaller is sharper."""


@dataclass
class Tokens:
    """The tokens of a batch of texts, for heads that read them one by one."""

    states: Tensor
    """``[m, l, hidden]``: after the last layer."""
    labels: Tensor
    """``[m, l]``: what this head learns of each token; -100 where nothing, as at padding and special tokens.

    For a head that predicts text it is the next token where that belongs to the text to be written."""


@dataclass
class Examples:
    """Training examples of one batch: ``m`` rows."""

    labels: Tensor
    """``[m]``: what this head learns, on the label's own scale; NaN where it is not known."""
    features: Tensor
    """``[m, dim]``: what the tower of this head made of the row: of person and item, or of the text."""
    group: Tensor
    """``[m]``: number of the list that the row was shown in; -1 where it stands alone."""
    users: Tensor | None = None
    """``[m, dim]``: the person's state just before the row; vectors are there in two_tower only."""
    items: Tensor | None = None
    """``[m, dim]``: the item of each row."""
    positive: Tensor | None = None
    """``[m]``: true where the person chose the item."""
    candidates: Tensor | None = None
    """``[c, dim]``: items to tell the chosen one from."""
    views: Tensor | None = None
    """``[c, dim]``: the candidates again, from another reading of their texts; there if a head asks for views."""
    target: Tensor | None = None
    """``[m]``: where each item stands among ``candidates``; -1 if it is not there."""
    log_q: Tensor | None = None
    """``[c]``: log of each candidate's expected count in the sample; zero when that is the whole catalogue."""
    seen: Tensor | None = None
    """``[m, c]``: true where the row's person has chosen a candidate at another time: no honest negative."""
    tokens: Tokens | None = None
    """There for heads that read tokens."""
    offset: Tensor | None = None
    """``[m]``: what counting says, on the scale of the head's module; there for heads that start from it."""


class Head(Protocol):
    """One task. Its name is its key in ``model.heads``; losses, predictions and metrics carry that name.

    A head that reads vectors may have further fields that say what its batches hold: ``negatives`` (candidates drawn
    beside those of the batch), ``mask_seen`` (whether it wants `Examples.seen`), ``view`` (template of
    `Examples.views`).

    A head may start from what counting says of its label: then it has a field ``offset`` of what is counted
    (`Counted`), says on what scale its module answers (``link``), builds a module whose answer starts at 0, and adds
    `Examples.offset` to it.

    Where several workers share a batch, the loss of the whole is put together from theirs. One that is not a mean over
    the rows with a label has a method ``counts(module, examples) -> float``: how many examples it is the mean of.
    """

    predicts: ClassVar[Predicts]
    reads: ClassVar[Reads]
    label: str
    """What it learns, from the interactions: ``value``, ``value >= 4``, ``action == 'click'``; empty for none."""
    weight: float

    def build(self, dim: int, label: LabelFacts, language: Language | None) -> nn.Module:
        """A module to hand to `loss` and `predict`. ``language`` is None where no text is read.

        It is None, too, where weights that were saved are put in afterwards. Raises `GenreError` where the label or the
        language model cannot serve it.
        """
        ...

    def loss(self, module: Any, examples: Examples) -> Tensor:
        """Mean loss over the examples that have a label; zero, with a gradient, where none has."""
        ...

    def predict(self, module: Any, examples: Examples) -> Tensor:
        """``[m]``: a score, a probability or an amount on the label's own scale; ``[m, classes]`` for multiclass.

        ``[m, l, classes]`` for tokens; ``[m]``, the mean log-likelihood of a token, for text.
        """
        ...


def known(examples: Examples) -> Tensor:
    """Places of the rows that have a label."""
    return (~examples.labels.isnan()).nonzero().squeeze(-1)


def started(scores: Tensor, examples: Examples) -> Tensor:
    """What a module answers, from what counting says on."""
    return scores if examples.offset is None else scores + examples.offset


def counted(head: Head, module: Any, examples: Examples) -> float:
    """How many examples the loss of a head is the mean of. Raises `GenreError` where the head does not tell."""
    if (counts := getattr(head, "counts", None)) is not None:
        return float(counts(module, examples))
    if not head.label:
        raise GenreError(f"{type(head).__name__} has no label and no method counts, so one worker must train it alone")
    return float(len(known(examples)))


def one_token(word: str, language: Language) -> int:
    """The number of a word's only token, after a blank or as it stands. Raises `GenreError` where it has several."""
    tokens = language.number_of(word)
    for found in (language.number_of(f" {word}"), tokens):
        if len(found) == 1:
            return found[0]
    raise GenreError(f"words: {word!r} is {len(tokens)} tokens ({tokens}) to this language model; take a word of one")
