"""Low-rank adaptation of directions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field, PositiveInt

from genre.adapters import Part
from genre.component import component

if TYPE_CHECKING:
    from genre.stack import Stack, Tuning


@component
class DoRA:
    """Each chosen weight matrix is split into the lengths of its rows and their directions: the lengths are learned
    freely, the directions by a low-rank change as in `lora`.

    Worth a try where `lora` at a small rank stays behind `top_layers`; a step takes longer, since the lengths are
    computed anew each time. Merged, it costs nothing more.
    Liu et al., DoRA (2024), https://arxiv.org/abs/2402.09353; by the peft library.
    """

    r: PositiveInt = 8
    """Rank of the change of directions; larger can change more and has more weights, in proportion."""
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
            r=self.r,
            lora_alpha=self.alpha,
            lora_dropout=self.dropout,
            target_modules=stack.parts(self.targets),
            use_dora=True,
        )
        inject(stack, config)
        return Tuning()
