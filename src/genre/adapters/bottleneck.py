"""Narrow nets between the layers' parts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import PositiveInt

from genre.component import component

if TYPE_CHECKING:
    from genre.stack import Stack, Tuning


@component
class Bottleneck:
    """A narrow net of two matrices behind attention and feed-forward net (Houlsby) or the latter alone (Pfeiffer).

    Unlike `lora`'s change it is not linear and cannot be merged: it stays in the model and costs time at each text.
    Houlsby et al., Parameter-Efficient Transfer Learning for NLP (2019), https://arxiv.org/abs/1902.00751;
    Pfeiffer et al., AdapterFusion (2021), https://arxiv.org/abs/2005.00247.
    """

    placement: Literal["houlsby", "pfeiffer"] = "pfeiffer"
    """Two nets a layer or one; two can change more, with twice the weights."""
    width: PositiveInt = 32
    """Numbers between the two matrices; larger can change more and has more weights, in proportion."""
    layers: PositiveInt = 2
    """How many layers, from the top; those below are computed once. More can change more and take longer."""

    def taps(self, depth: int) -> tuple[int, ...]:
        return (max(0, depth - self.layers),)

    def apply(self, stack: Stack) -> Tuning:
        from genre.adapterlayers import Bottleneck as Net
        from genre.stack import Tuning

        for name in stack.parts(("output", "down") if self.placement == "houlsby" else ("down",)):
            stack.set_submodule(name, Net(stack.get_submodule(name), self.width))  # type: ignore[arg-type]
        return Tuning()
