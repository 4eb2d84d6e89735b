"""Learned vectors in front of the words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import PositiveInt

from genre.component import component

if TYPE_CHECKING:
    from genre.stack import Stack, Tuning


@component
class Prompt:
    """A few learned vectors stand in front of every text's words; the model itself stays as it came.

    The fewest weights of all (``length`` times the model's width), for large models above all. Every layer runs in
    every step, and it begins as something else than the model alone; `prefix` reaches the upper layers at less cost.
    Lester et al., The Power of Scale for Parameter-Efficient Prompt Tuning (2021), https://arxiv.org/abs/2104.08691;
    its weights by the peft library.
    """

    length: PositiveInt = 8
    """Learned vectors; more can change more and make every text longer by as many tokens."""

    def taps(self, depth: int) -> tuple[int, ...]:
        return (0,)

    def apply(self, stack: Stack) -> Tuning:
        import torch

        from genre.adapterlayers import Prompt as Learned
        from genre.stack import Tuning

        with torch.no_grad():
            scale = stack.anatomy.embed(torch.arange(32)[None]).std()
        stack.prompt = Learned(self.length, stack.hidden_size, float(scale))
        return Tuning()
