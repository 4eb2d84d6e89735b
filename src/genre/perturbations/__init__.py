"""Perturbations: training on what a batch almost is, so that a small change of a text changes no answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from genre.heads import Predicts

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Said:
    """What a head predicted of the rows (or tokens) whose label is known."""

    predicts: Predicts
    values: Tensor
    """``[n]``, of classes ``[n, classes]``: a probability, or an amount in standard deviations of the label."""


@dataclass(frozen=True)
class Pass:
    """One pass of a batch through the language model and the heads."""

    losses: dict[str, Tensor]
    """By head."""
    said: Callable[[], dict[str, Said]]
    """What the heads predicted in this pass, with its graph."""


@dataclass(frozen=True)
class Reading:
    """A batch of texts about to be read."""

    entering: Tensor
    """``[m, l, width]``: the states that enter the trained layers."""
    real: Tensor
    """``[m, l]``: false where a text is padded."""
    read: Callable[[Tensor], Pass]
    """Reads these states, or others of their shape in their place."""
    weights: Mapping[str, float]
    """Of the heads."""


class Perturbation(Protocol):
    """One way to ask more of a batch than the right answers."""

    @property
    def passes(self) -> int:
        """Passes whose graphs are held at once: the pieces of a batch are so many times smaller, to bound memory."""
        ...

    def losses(self, reading: Reading) -> dict[str, Tensor]:
        """The losses by head, with what it adds to them."""
        ...
