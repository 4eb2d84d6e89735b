"""A step of its own for each weight."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field, PositiveFloat

from genre.component import component
from genre.optimizers import Group

if TYPE_CHECKING:
    import torch


@component
class AdamW:
    """The mean gradient over its usual size, weight by weight: the safe choice, whose rates carry over from papers.

    Keeps two numbers a weight; `adafactor` keeps next to none, `muon` may need fewer steps.
    Loshchilov and Hutter (2019), https://arxiv.org/abs/1711.05101; by torch.
    """

    beta1: Annotated[float, Field(ge=0, lt=1)] = 0.9
    """How much of the mean gradient stays in the next step; larger is steadier and slower to turn."""
    beta2: Annotated[float, Field(ge=0, lt=1)] = 0.999
    """How much of the mean squared gradient stays; larger is steadier, smaller follows a change of scale sooner."""
    eps: PositiveFloat = 1e-8
    """Added to the usual size, so that a weight with hardly any gradient does not leap; larger damps such weights."""

    def make(self, groups: list[Group]) -> torch.optim.Optimizer:
        import torch

        return torch.optim.AdamW(groups, betas=(self.beta1, self.beta2), eps=self.eps)
