"""Torch modules that turn the losses of several tasks into one step."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Balance(nn.Module):
    """What `genre.balancers.Balancer.build` makes. May hold buffers, and parameters to train."""

    def backward(self, losses: dict[str, Tensor], shared: list[Tensor]) -> None:
        """Add the gradient of the weighed ``losses`` to ``shared`` and to all else that they depend on.

        ``shared`` are the leaves that more than one head may depend on: weights, and the text vectors of a round.
        """
        raise NotImplementedError

    def epoch_done(self, losses: dict[str, float]) -> None:
        """Hear the mean losses of the epoch just trained."""


class WeightedSum(Balance):
    """``sum(weight * loss)`` over the heads."""

    def __init__(self, weights: dict[str, float]) -> None:
        super().__init__()
        self.weights = weights

    def backward(self, losses: dict[str, Tensor], shared: list[Tensor]) -> None:
        torch.stack([self.weights[name] * loss for name, loss in losses.items()]).sum().backward()


class UncertaintySum(Balance):
    """``sum(weight * (exp(-s) * loss + s))`` with a learned ``s``, the log of the task's variance."""

    def __init__(self, weights: dict[str, float]) -> None:
        super().__init__()
        self.weights = weights
        self.log_variance = nn.ParameterDict({f"head_{name}": nn.Parameter(torch.tensor(0.0)) for name in weights})

    def backward(self, losses: dict[str, Tensor], shared: list[Tensor]) -> None:
        terms = [
            self.weights[name] * (loss * (-variance).exp() + variance)
            for name, loss in losses.items()
            for variance in [self.log_variance[f"head_{name}"]]
        ]
        torch.stack(terms).sum().backward()
