"""The mean of what a person did."""

from __future__ import annotations

from typing import TYPE_CHECKING

from genre.component import component

if TYPE_CHECKING:
    from torch import nn


@component
class Mean:
    """The user is the mean of their events' vectors: no order, few weights, hard to over-fit.

    Take it where order says little or histories are very short; else `transformer`.
    """

    def build(self, dim: int, max_length: int, dropout: float) -> nn.Module:
        from genre.layers import CausalMean

        return CausalMean(dim)
