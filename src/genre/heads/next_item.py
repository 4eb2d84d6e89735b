"""Which item comes next."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import NonNegativeFloat, PositiveInt

from genre.component import component
from genre.heads import Examples

if TYPE_CHECKING:
    from torch import Tensor, nn


@component
class NextItem:
    """Softmax over items: the one chosen against all others, or against a sample of them. The head that retrieves.

    The sample is the items of the batch and uniform negatives, each corrected for how often it is drawn (logQ);
    Bengio and Senecal (2008), https://doi.org/10.1109/TNN.2007.912312.
    """

    predicts: ClassVar[Literal["ranking"]] = "ranking"
    label: ClassVar[str] = ""
    weight: NonNegativeFloat = 1.0
    """Share of this task in the total loss; larger learns it first."""
    negatives: PositiveInt | None = None
    """Uniform negatives a step beside the batch's own items; none given means all items, exact but dear for many."""

    def build(self, dim: int, label_mean: float, label_std: float) -> nn.Module:
        from genre.layers import ScaledDot

        return ScaledDot(dim)

    def loss(self, module: nn.Module, examples: Examples) -> Tensor:
        from torch.nn import functional

        rows = (examples.positive & (examples.target >= 0)).nonzero().squeeze(-1)
        if not len(rows):
            return examples.users.sum() * 0.0
        logits = module.against(examples.users[rows], examples.candidates) - examples.log_q  # type: ignore[operator]
        return functional.cross_entropy(logits, examples.target[rows])

    def predict(self, module: nn.Module, users: Tensor, items: Tensor) -> Tensor:
        return module(users, items)
