"""Which item comes next."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import NonNegativeFloat, PositiveInt

from genre.component import component
from genre.heads import Examples, LabelFacts, Language

if TYPE_CHECKING:
    from torch import Tensor, nn


@component
class NextItem:
    """Softmax over items: the one chosen against all others, or against a sample of them. The head that retrieves.

    The sample is the items of the batch and uniform negatives, each corrected for how often it is drawn (logQ);
    Bengio and Senecal (2008), https://doi.org/10.1109/TNN.2007.912312.
    """

    predicts: ClassVar[Literal["ranking"]] = "ranking"
    reads: ClassVar[Literal["vectors"]] = "vectors"
    label: ClassVar[str] = ""
    weight: NonNegativeFloat = 1.0
    """Share of this task in the total loss; larger learns it first."""
    negatives: PositiveInt | None = None
    """Uniform negatives a step beside the batch's own items; none given means all items, exact but dear for many."""

    def build(self, dim: int, label: LabelFacts, language: Language | None) -> nn.Module:
        from genre.layers import ScaledDot

        return ScaledDot(dim)

    def loss(self, module: Any, examples: Examples) -> Tensor:
        from torch.nn import functional

        users, candidates, target = examples.users, examples.candidates, examples.target
        assert users is not None
        assert candidates is not None
        assert target is not None
        assert examples.positive is not None
        rows = (examples.positive & (target >= 0)).nonzero().squeeze(-1)
        if not len(rows):
            return users.sum() * 0.0
        logits = module.against(users[rows], candidates) - examples.log_q
        return functional.cross_entropy(logits, target[rows])

    def predict(self, module: Any, examples: Examples) -> Tensor:
        return module(examples.users, examples.items)
