"""Low-rank adaptation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field, PositiveInt

from genre.adapters import Part
from genre.component import component

if TYPE_CHECKING:
    from genre.stack import Stack, Tuning


@component
class LoRA:
    """A low-rank change is learned beside each chosen weight matrix, which itself stays as it came.

    The first choice: far fewer weights than `top_layers` or `full` (12 thousand a MiniLM layer), so a smaller file and
    less over-fitting, and it can be merged into the model. `dora` and `adalora` are refinements that cost time.
    Hu et al., LoRA (2021), https://arxiv.org/abs/2106.09685; by the peft library.
    """

    r: PositiveInt = 8
    """Rank of the change; larger can change more and has more weights, in proportion."""
    alpha: PositiveInt = 16
    """Scale of the change, divided by ``r``; larger moves the model faster."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of the change's inputs set to zero while training; larger over-fits less."""
    layers: PositiveInt = 2
    """How many layers, from the top; those below are computed once. More can change more and take longer."""
    targets: Annotated[tuple[Part, ...], Field(min_length=1)] = ("query", "value")
    """Weight matrices changed in each layer: of query, key, value, output (attention), up, down (feed-forward net);
    more can change more, ``up`` and ``down`` most of all."""

    def taps(self, depth: int) -> tuple[int, ...]:
        return (max(0, depth - self.layers),)

    def apply(self, stack: Stack) -> Tuning:
        from peft import LoraConfig

        from genre.adapterlayers import inject
        from genre.stack import Tuning

        config = LoraConfig(
            r=self.r, lora_alpha=self.alpha, lora_dropout=self.dropout, target_modules=stack.parts(self.targets)
        )
        inject(stack, config)
        return Tuning()
