"""Two readings of one item."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat

from genre.component import component
from genre.errors import GenreError
from genre.heads import Examples, LabelFacts, Language

if TYPE_CHECKING:
    from torch import Tensor, nn


@component
class Contrastive:
    """An item is told from the others of a batch by another reading of its text; predicts nothing, shapes vectors.

    The other reading is by another template, or by the model's own again, whose dropout then makes the difference.
    Items learn from all that is written of them, which helps those that few have chosen. Items that read alike are not
    held against each other. InfoNCE, both ways: van den Oord et al. (2018), https://arxiv.org/abs/1807.03748; by
    dropout: Gao et al., SimCSE (2021), https://arxiv.org/abs/2104.08821.
    """

    predicts: ClassVar[Literal["nothing"]] = "nothing"
    reads: ClassVar[Literal["vectors"]] = "vectors"
    label: ClassVar[str] = ""
    weight: NonNegativeFloat = 1.0
    """Share of this task in the total loss; larger learns it first."""
    view: str = "{title}"
    """Template of the other reading, as ``model.template`` is of the first."""
    temperature: PositiveFloat | None = None
    """Divides cosines; smaller looks at the nearest items only. None given means as the language model was trained."""
    items: Annotated[int, Field(ge=2)] = 512
    """Most items that are told apart in a step, drawn anew each time; more are harder, and cost their square."""

    def build(self, dim: int, label: LabelFacts, language: Language | None) -> nn.Module:
        from genre.layers import Cosines

        usual = Language.temperature if language is None else language.temperature
        return Cosines(self.temperature or usual)

    def loss(self, module: Any, examples: Examples) -> Tensor:
        import torch
        from torch.nn import functional

        one, other = examples.candidates, examples.views
        if one is None or other is None:
            raise GenreError("contrastive: there is no second reading of the items; it needs model.text: true")
        if len(one) > self.items:
            drawn = torch.randperm(len(one))[: self.items]
            one, other = one[drawn], other[drawn]
        if len(one) < 2:
            return (one.sum() + other.sum()) * 0.0
        cosines = module(one, other).masked_fill(_alike(one) | _alike(other), -torch.inf)
        right = torch.arange(len(one))
        return (functional.cross_entropy(cosines, right) + functional.cross_entropy(cosines.T, right)) / 2

    def counts(self, module: Any, examples: Examples) -> float:
        return 1.0  # The loss of all items, whoever computes it.

    def predict(self, module: Any, examples: Examples) -> Tensor:
        return examples.features.new_full((len(examples.features),), float("nan"))


def _alike(vectors: Tensor) -> Tensor:
    """Pairs of two items that cannot be told apart: ``[n, n]``."""
    from torch.nn import functional

    unit = functional.normalize(vectors.detach(), dim=-1)
    return (unit @ unit.T > 1 - ALIKE).fill_diagonal_(False)


ALIKE = 1e-6
"""Two items whose cosine is less than this from 1 read alike."""
