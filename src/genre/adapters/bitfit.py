"""Fine-tuning of biases."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import PositiveInt

from genre.component import component

if TYPE_CHECKING:
    from genre.stack import Stack, Tuning


@component
class BitFit:
    """Only the biases are trained; in a model that has none, such as Llama, the scales of its norms are instead.

    4 thousand weights a MiniLM layer and nothing beside the model: the mildest change that still reaches every layer.
    `lora` changes more.
    Ben Zaken et al., BitFit (2022), https://arxiv.org/abs/2106.10199.
    """

    layers: PositiveInt = 2
    """How many layers, from the top; those below are computed once. More can change more and take longer."""

    def taps(self, depth: int) -> tuple[int, ...]:
        return (max(0, depth - self.layers),)

    def apply(self, stack: Stack) -> Tuning:
        from genre.stack import Tuning

        vectors = [name for name, weight in stack.layers.named_parameters(prefix="layers") if weight.ndim == 1]
        biases = [name for name in vectors if name.endswith("bias")]
        stack.open_weights(set(biases or vectors).__contains__)
        return Tuning()
