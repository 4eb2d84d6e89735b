"""A ladder beside the model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field, PositiveInt

from genre.component import component

if TYPE_CHECKING:
    from genre.stack import Stack, Tuning


@component
class Side:
    """A narrow transformer beside the language model reads the states of several layers and adds to the last ones.

    No gradient passes through the model and no layer of it runs in training: its states are computed once, so a step
    costs what the ladder costs, however large the model is. `lora` reaches further, at the price of the layers.
    Sung et al., LST: Ladder Side-Tuning (2022), https://arxiv.org/abs/2206.06522.
    """

    rungs: PositiveInt = 3
    """Layers whose states are read, spread evenly up to the last; more see more of the model and need more disk."""
    width: Annotated[int, Field(ge=4, multiple_of=4)] = 64
    """Width of the ladder, a multiple of 4; wider can change more and takes longer."""

    def taps(self, depth: int) -> tuple[int, ...]:
        return tuple(sorted({round(depth * (number + 1) / self.rungs) for number in range(self.rungs)}))

    def apply(self, stack: Stack) -> Tuning:
        from genre.adapterlayers import Ladder
        from genre.stack import Tuning

        stack.ladder = Ladder(stack.hidden_size, len(stack.taps), self.width, 4, stack.anatomy.causal)
        return Tuning()
