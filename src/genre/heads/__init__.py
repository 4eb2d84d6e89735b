"""Task heads: what the model is asked, and how an answer is judged while training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal, Protocol

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass
class Examples:
    """Training examples of one batch: ``m`` interactions, each seen from the user's state just before it."""

    users: Tensor
    """``[m, dim]``."""
    items: Tensor
    """``[m, dim]``: the item of each interaction."""
    labels: Tensor
    """``[m]``: what this head learns; NaN where it is not known."""
    positive: Tensor
    """``[m]``: true where the person chose the item."""
    candidates: Tensor
    """``[c, dim]``: items to tell the chosen one from."""
    target: Tensor
    """``[m]``: where each item stands among ``candidates``; -1 if it is not there."""
    log_q: Tensor
    """``[c]``: log of each candidate's expected count in the sample; zero when that is the whole catalogue."""


class Head(Protocol):
    """One task. Its name is its key in ``model.heads``; losses, predictions and metrics carry that name."""

    predicts: ClassVar[Literal["ranking", "binary", "regression"]]
    label: str
    """What it learns, from the interactions: ``value``, ``value >= 4``, ``action == 'click'``; empty for none."""
    weight: float

    def build(self, dim: int, label_mean: float, label_std: float) -> nn.Module:
        """A module ``(users [m, dim], items [m, dim]) -> [m]``, given the training labels' mean and deviation."""
        ...

    def loss(self, module: nn.Module, examples: Examples) -> Tensor:
        """Mean loss over the examples that have a label; zero, with a gradient, where none has."""
        ...

    def predict(self, module: nn.Module, users: Tensor, items: Tensor) -> Tensor:
        """``[m]``: a score, a probability or an amount on the label's own scale."""
        ...
