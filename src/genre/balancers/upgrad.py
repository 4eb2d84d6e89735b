"""Gradients that hurt no task."""

from __future__ import annotations

from typing import TYPE_CHECKING

from genre.component import component

if TYPE_CHECKING:
    from torch import nn


@component
class UPGrad:
    """Each task's gradient becomes the nearest one along which no task gets worse; then they are added.

    As `pcgrad`, but exact for any number of tasks and without chance, for a small quadratic program a step. A backward
    pass for each task. The heads' weights multiply their gradients, so that a larger weight decides more.
    Quinton and Rey (2024), https://arxiv.org/abs/2406.16232; by torchjd, https://torchjd.org.
    """

    def build(self, weights: dict[str, float]) -> nn.Module:
        from genre.balancing import Surgery, unconflicting

        return Surgery(weights, unconflicting)
