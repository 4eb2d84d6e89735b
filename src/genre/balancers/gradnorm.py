"""Weights that make all tasks pull equally."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import NonNegativeFloat, PositiveFloat

from genre.component import component

if TYPE_CHECKING:
    from torch import nn


@component
class GradNorm:
    """Weights are learned so that the gradients of all tasks are equally long, and longer for those that lag behind.

    For losses of different sizes or rates; unlike `uncertainty` it sees what reaches the shared weights. A backward
    pass for each task. The heads' weights multiply what is learned. Here lengths are of all shared weights that more
    than one task reaches, not of the last layer only. Chen et al. (2018), https://arxiv.org/abs/1711.02257.
    """

    alpha: NonNegativeFloat = 1.5
    """How much harder a task pulls that has come less far; at 0 all pull equally, larger brings the tasks level."""
    rate: PositiveFloat = 0.025
    """Step by which the logarithm of a weight follows; larger is faster and less steady."""

    def build(self, weights: dict[str, float]) -> nn.Module:
        from genre.balancing import GradientNorms

        return GradientNorms(weights, self.alpha, self.rate)
