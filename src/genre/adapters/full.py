"""Fine-tuning of every layer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from genre.component import component

if TYPE_CHECKING:
    from genre.stack import Stack, Tuning


@component
class Full:
    """Every weight of every layer is trained; only the table of word vectors stays, which few texts could move.

    The most that can change, and the dearest: no layer's states can be computed once. With little data `lora` or
    `top_layers` generalise as well.
    """

    decay: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Factor on the learning rate for each layer further down; smaller keeps more of what the lower layers know.
    Howard and Ruder, ULMFiT (2018), https://arxiv.org/abs/1801.06146."""

    def taps(self, depth: int) -> tuple[int, ...]:
        return (0,)

    def apply(self, stack: Stack) -> Tuning:
        from genre.adapterlayers import layerwise
        from genre.stack import Tuning

        stack.open_weights(lambda name: True)
        return Tuning(rate=layerwise(stack, self.decay))
