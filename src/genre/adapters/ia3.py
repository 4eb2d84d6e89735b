"""Learned scales on activations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field, PositiveInt

from genre.adapters import Part
from genre.component import component

if TYPE_CHECKING:
    from genre.stack import Stack, Tuning


@component
class IA3:
    """One learned factor for each number that a chosen weight matrix gives, or, in ``down``, takes.

    The fewest weights after `prompt` (2 thousand a MiniLM layer): for very little data or very many adapters. It can be
    merged into the model. `lora` changes more.
    Liu et al., Few-Shot Parameter-Efficient Fine-Tuning is Better and Cheaper than In-Context Learning (2022),
    https://arxiv.org/abs/2205.05638; by the peft library.
    """

    layers: PositiveInt = 2
    """How many layers, from the top; those below are computed once. More can change more and take longer."""
    targets: Annotated[tuple[Part, ...], Field(min_length=1)] = ("key", "value", "down")
    """Weight matrices scaled in each layer: of query, key, value, output (attention), up, down (feed-forward net); more
    can change more."""

    def taps(self, depth: int) -> tuple[int, ...]:
        return (max(0, depth - self.layers),)

    def apply(self, stack: Stack) -> Tuning:
        from peft import IA3Config

        from genre.adapterlayers import inject
        from genre.stack import Tuning

        scaled_on_entry = stack.parts([target for target in self.targets if target == "down"])
        inject(stack, IA3Config(target_modules=stack.parts(self.targets), feedforward_modules=scaled_on_entry))
        return Tuning()
