"""Fine-tuning of whole layers at the top."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import PositiveInt

from genre.component import component

if TYPE_CHECKING:
    from genre.stack import Stack, Tuning


@component
class TopLayers:
    """Every weight of the top layers is trained, the layers below stay as they came.

    More room to change than `lora` on the same layers (1.8 million weights a MiniLM layer), more memory for the
    optimizer, and sooner over-fitted; against `full` it saves the lower layers' time, as they are computed once.
    """

    layers: PositiveInt = 1
    """How many layers, from the top; more can change more and cost time in proportion."""

    def taps(self, depth: int) -> tuple[int, ...]:
        return (max(0, depth - self.layers),)

    def apply(self, stack: Stack) -> Tuning:
        from genre.stack import Tuning

        stack.open_weights(lambda name: True)
        return Tuning()
