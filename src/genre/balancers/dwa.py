"""Weights by how fast each loss falls."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import PositiveFloat

from genre.component import component

if TYPE_CHECKING:
    from torch import nn


@component
class DWA:
    """Dynamic weight average: after each epoch, a task whose loss fell less than the others' weighs more.

    Costs nothing, and looks at rates only, so that losses need not be of one size. `uncertainty` learns step by step;
    `gradnorm` looks at gradients. The heads' weights multiply its own. Liu et al. (2019),
    https://arxiv.org/abs/1803.10704.
    """

    temperature: PositiveFloat = 2.0
    """How even the weights stay: at 1 a loss that stood still beside one that halved weighs 1.6 times as much; larger
    moves them less."""

    def build(self, weights: dict[str, float]) -> nn.Module:
        from genre.balancing import DynamicAverage

        return DynamicAverage(weights, self.temperature)
