"""Low-rank adaptation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field, PositiveInt

from genre.component import component

if TYPE_CHECKING:
    from genre.stack import Stack, Tuning


@component
class LoRA:
    """A low-rank change is learned beside each chosen weight matrix, which itself stays as it came.

    Far fewer weights than `top_layers` or `full` (a few thousand a layer), so a smaller file and less over-fitting.
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
    targets: tuple[str, ...] = ("query", "value")
    """Weight matrices changed in each layer, by the end of their name; BERT has query, key, value and dense."""

    def taps(self, depth: int) -> tuple[int, ...]:
        return (max(0, depth - self.layers),)

    def apply(self, stack: Stack) -> Tuning:
        from peft import LoraConfig, inject_adapter_in_model

        from genre.stack import Tuning

        config = LoraConfig(
            r=self.r,
            lora_alpha=self.alpha,
            lora_dropout=self.dropout,
            target_modules=list(self.targets),  # type: ignore[arg-type]
        )
        inject_adapter_in_model(config, stack.layers)
        return Tuning()
