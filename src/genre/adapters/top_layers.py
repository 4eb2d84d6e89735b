"""Fine-tuning of whole layers at the top."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field, PositiveInt

from genre.component import component

if TYPE_CHECKING:
    from genre.stack import Stack, Tuning


@component
class TopLayers:
    """Every weight of the top layers is trained, the layers below stay as they came.

    More room to change than `lora` on the same layers (1.8 million weights a MiniLM layer), more memory for the
    optimizer, and sooner over-fitted; against `full` it saves the lower layers' time, as they are computed once.
    Rates by layer and gradual unfreezing: Howard and Ruder, ULMFiT (2018), https://arxiv.org/abs/1801.06146.
    """

    layers: PositiveInt = 1
    """How many layers, from the top; more can change more and cost time in proportion."""
    decay: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Factor on the learning rate for each layer further down; smaller keeps more of what the lower layers know."""
    unfreeze: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Share of the steps over which the layers are opened one by one from the top; larger keeps the lower ones as they
    came for longer, 0 opens all at once."""

    def taps(self, depth: int) -> tuple[int, ...]:
        return (max(0, depth - self.layers),)

    def apply(self, stack: Stack) -> Tuning:
        from genre.adapterlayers import Unfreezing, layerwise
        from genre.stack import Tuning

        stack.open_weights(lambda name: True)
        order = Unfreezing(stack, self.unfreeze)
        return Tuning(
            rate=layerwise(stack, self.decay), after_step=order.after_step, state=order.state, restore=order.restore
        )
