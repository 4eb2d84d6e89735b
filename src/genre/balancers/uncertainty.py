"""Weights learned from how noisy each task is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from genre.component import component

if TYPE_CHECKING:
    from torch import nn


@component
class Uncertainty:
    """Each loss is divided by a learned variance, so that a task whose loss cannot fall far does not drown the others.

    The heads' weights multiply what is learned. Take it when you do not want to tune weights; `fixed` when you do.
    Kendall, Gal and Cipolla (2018), https://arxiv.org/abs/1705.07115.
    """

    def build(self, weights: dict[str, float]) -> nn.Module:
        from genre.balancing import UncertaintySum

        return UncertaintySum(weights)
