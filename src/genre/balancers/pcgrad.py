"""Gradients without what conflicts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from genre.component import component

if TYPE_CHECKING:
    from torch import nn


@component
class PCGrad:
    """Where the gradients of two tasks point against each other, each loses the part that does; then they are added.

    For tasks that undo each other's steps. With three tasks or more the order of projections is drawn, and what comes
    out may still hurt one: `upgrad` never does. A backward pass for each task. The heads' weights multiply their
    gradients. Yu et al. (2020), https://arxiv.org/abs/2001.06782; by torchjd, https://torchjd.org.
    """

    def build(self, weights: dict[str, float]) -> nn.Module:
        from torchjd.aggregation import PCGradWeighting

        from genre.balancing import Surgery

        return Surgery(weights, PCGradWeighting())
