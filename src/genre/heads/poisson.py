"""How often."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import NonNegativeFloat

from genre.component import component
from genre.errors import GenreError
from genre.heads import Counted, Examples, LabelFacts, Language, Link, known, started

if TYPE_CHECKING:
    from torch import Tensor, nn


@component
class Poisson:
    """A count, such as plays or helpful votes: half the Poisson deviance of its logarithm.

    Large counts do not drown small ones as in `regression`, and what it predicts is never negative.
    McCullagh and Nelder (1989), https://doi.org/10.1007/978-1-4899-3242-6.
    """

    predicts: ClassVar[Literal["regression"]] = "regression"
    reads: ClassVar[Literal["features"]] = "features"
    link: ClassVar[Link] = "log"
    label: str = "value"
    """A column of the interactions with amounts from 0."""
    weight: NonNegativeFloat = 1.0
    """Share of this task in the total loss; larger learns it first."""
    offset: tuple[Counted, ...] = ()
    """What it starts from instead of the overall mean, so that few examples make it no worse than counting: the mean
    of the ``item``, of the ``user`` (in the history), and, beside that, ``text``: how alike the item's text is to those
    of what they labelled high or low, by the language model as it came. Counted in the training part and shrunk. For
    `text` (``item`` alone, as it reads no history) and `cross`."""

    def build(self, dim: int, label: LabelFacts, language: Language | None) -> nn.Module:
        import math

        from genre.layers import Scaled

        least = min(label.classes, default=label.mean)
        if least < 0:
            raise GenreError(f"poisson: '{self.label}' is {least:g} in training, and a count is 0 or more")
        start = math.log(max(label.mean, 1e-3)) if not self.offset else 0.0
        return Scaled(dim, mean=start, std=1.0)

    def loss(self, module: Any, examples: Examples) -> Tensor:
        import torch

        rows = known(examples)
        if not len(rows):
            return examples.features.sum() * 0.0
        logs, counts = started(module(examples.features), examples)[rows], examples.labels[rows]
        # Less what the best answer would cost, so that it is 0 there: balancers compare losses.
        return (logs.exp() - counts * logs + torch.xlogy(counts, counts) - counts).mean()

    def predict(self, module: Any, examples: Examples) -> Tensor:
        return started(module(examples.features), examples).exp()
