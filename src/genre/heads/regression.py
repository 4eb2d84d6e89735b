"""An amount of an interaction."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import NonNegativeFloat

from genre.component import component
from genre.heads import Counted, Examples, LabelFacts, Language, Link, known, started

if TYPE_CHECKING:
    from torch import Tensor, nn


@component
class Regression:
    """How much: stars, seconds of reading, plays. Squared error, in units of the label's deviation.

    For a yes or no use `binary`, for grades such as stars `ordinal`, for counts that reach far `poisson`.
    """

    predicts: ClassVar[Literal["regression"]] = "regression"
    reads: ClassVar[Literal["features"]] = "features"
    link: ClassVar[Link] = "identity"
    label: str = "value"
    """A numeric column of the interactions."""
    weight: NonNegativeFloat = 1.0
    """Share of this task in the total loss; larger learns it first."""
    offset: tuple[Counted, ...] = ()
    """What it starts from instead of the overall mean, so that few examples make it no worse than counting: the mean
    of the ``item``, of the ``user`` (in the history), and, beside that, ``text``: how alike the item's text is to those
    of what they labelled high or low, by the language model as it came. Counted in the training part and shrunk. For
    `text` (``item`` alone, as it reads no history) and `cross`."""

    def build(self, dim: int, label: LabelFacts, language: Language | None) -> nn.Module:
        from genre.layers import Scaled

        return Scaled(dim, label.mean if not self.offset else 0.0, label.std or 1.0)

    def loss(self, module: Any, examples: Examples) -> Tensor:
        from torch.nn import functional

        rows = known(examples)
        if not len(rows):
            return examples.features.sum() * 0.0
        said = started(module(examples.features), examples)[rows]
        return functional.mse_loss(said, examples.labels[rows]) / module.std**2

    def predict(self, module: Any, examples: Examples) -> Tensor:
        return started(module(examples.features), examples)
