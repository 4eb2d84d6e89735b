"""Which item comes next."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field, NonNegativeFloat, PositiveInt

from genre.component import component
from genre.heads import Examples, LabelFacts, Language

if TYPE_CHECKING:
    from torch import Tensor, nn


@component
class NextItem:
    """Softmax over items: the one chosen against all others, or against a sample of them. The head that retrieves.

    The sample is the items of the batch and uniform negatives, each corrected for how often it is drawn (logQ);
    Bengio and Senecal (2008), https://doi.org/10.1109/TNN.2007.912312; Yi et al. (2019),
    https://doi.org/10.1145/3298689.3346996.
    """

    predicts: ClassVar[Literal["ranking"]] = "ranking"
    reads: ClassVar[Literal["vectors"]] = "vectors"
    label: ClassVar[str] = ""
    weight: NonNegativeFloat = 1.0
    """Share of this task in the total loss; larger learns it first."""
    negatives: PositiveInt | None = None
    """Uniform negatives a step beside the batch's own items; none given means all items, exact but dear for many."""
    smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of the answer that is spread over all candidates, as another item might have done; larger dares less."""
    mask_seen: bool = False
    """Whether items that the person has chosen at another time are left out of those to tell the chosen one from: they
    are no honest negatives. Leave it off where the order of a history says what comes next."""

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
        if not self.mask_seen:
            return functional.cross_entropy(logits, target[rows], label_smoothing=self.smoothing)
        assert examples.seen is not None
        return _masked(logits, target[rows], examples.seen[rows], self.smoothing)

    def counts(self, module: Any, examples: Examples) -> float:
        assert examples.positive is not None
        assert examples.target is not None
        return float((examples.positive & (examples.target >= 0)).sum())

    def predict(self, module: Any, examples: Examples) -> Tensor:
        return module(examples.users, examples.items)


def _masked(logits: Tensor, target: Tensor, seen: Tensor, smoothing: float) -> Tensor:
    """Cross-entropy over the candidates that are not ``seen``."""
    import torch

    likely = logits.masked_fill(seen, -torch.inf).log_softmax(-1)
    right = likely.gather(1, target[:, None]).mean()
    spread = (likely.masked_fill(seen, 0.0).sum(1) / (~seen).sum(1)).mean()
    return -(1 - smoothing) * right - smoothing * spread
