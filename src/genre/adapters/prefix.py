"""Learned keys and values in front."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import NonNegativeInt, PositiveInt

from genre.component import component

if TYPE_CHECKING:
    from genre.stack import Stack, Tuning


@component
class Prefix:
    """Learned keys and values stand in front of every text's in each chosen layer, for all its tokens to attend to.

    The weights of the model stay as they are, so texts with different prefixes could share a pass; but it begins as
    something else than the model it came from, and `lora` is easier to train. It cannot be merged.
    Li and Liang, Prefix-Tuning (2021), https://arxiv.org/abs/2101.00190; its weights by the peft library.
    """

    length: PositiveInt = 8
    """Learned positions; more can change more and take longer."""
    hidden: NonNegativeInt = 0
    """Width of a net through which the keys and values are learned, as in the paper; 0 learns them as they are. Larger
    is steadier at high rates, with many more weights."""
    layers: PositiveInt = 2
    """How many layers, from the top; those below are computed once. More can change more and take longer."""

    def taps(self, depth: int) -> tuple[int, ...]:
        return (max(0, depth - self.layers),)

    def apply(self, stack: Stack) -> Tuning:
        from genre.adapterlayers import Prefix as Learned
        from genre.stack import Tuning

        stack.prefix = Learned(stack, self.length, self.hidden)
        return Tuning()
