"""The gradient itself, with momentum."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field, model_validator

from genre.component import component
from genre.optimizers import Group

if TYPE_CHECKING:
    import torch


@component
class SGD:
    """Steps along the mean gradient, one rate for all weights: simple, and half the memory of `adamw`.

    It needs rates a hundred times as large, each tuned anew, and gets language models less far than `adamw` does.
    Sutskever et al. (2013), https://proceedings.mlr.press/v28/sutskever13.html; by torch.
    """

    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    """How much of the last step stays in the next; larger is faster along a valley and overshoots sooner."""
    nesterov: bool = False
    """Whether the gradient counts as of where the momentum leads, which overshoots less; needs momentum."""

    @model_validator(mode="after")
    def _nesterov_has_momentum(self) -> SGD:
        if self.nesterov and not self.momentum:
            raise ValueError("nesterov needs momentum above 0; raise it or leave nesterov out")
        return self

    def make(self, groups: list[Group]) -> torch.optim.Optimizer:
        import torch

        return torch.optim.SGD(groups, lr=0.0, momentum=self.momentum, nesterov=self.nesterov)
