"""Weights as given."""

from __future__ import annotations

from typing import TYPE_CHECKING

from genre.component import component

if TYPE_CHECKING:
    from torch import nn


@component
class Fixed:
    """The sum of each head's weight times its loss, in one backward pass.

    The default, and predictable. `uncertainty`, `dwa` and `gradnorm` find weights by themselves; `pcgrad` and `upgrad`
    change gradients that point against each other.
    """

    def build(self, weights: dict[str, float]) -> nn.Module:
        from genre.balancing import WeightedSum

        return WeightedSum(weights)
