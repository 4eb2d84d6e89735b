"""Torch modules that turn the losses of several tasks into one."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class WeightedSum(nn.Module):
    """``sum(weight * loss)`` over the heads."""

    def __init__(self, weights: dict[str, float]) -> None:
        super().__init__()
        self.weights = weights

    def forward(self, losses: dict[str, Tensor]) -> Tensor:
        return torch.stack([self.weights[name] * loss for name, loss in losses.items()]).sum()


class UncertaintySum(nn.Module):
    """``sum(weight * (exp(-s) * loss + s))`` with a learned ``s``, the log of the task's variance."""

    def __init__(self, weights: dict[str, float]) -> None:
        super().__init__()
        self.weights = weights
        self.log_variance = nn.ParameterDict({f"head_{name}": nn.Parameter(torch.tensor(0.0)) for name in weights})

    def forward(self, losses: dict[str, Tensor]) -> Tensor:
        terms = [
            self.weights[name] * (loss * (-variance).exp() + variance)
            for name, loss in losses.items()
            for variance in [self.log_variance[f"head_{name}"]]
        ]
        return torch.stack(terms).sum()
