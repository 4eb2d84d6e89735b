"""Arithmetic on perturbed states: lengths, directions, and how far two predictions are apart."""

from __future__ import annotations

import torch
from torch import Tensor

from genre.perturbations import Pass, Reading, Said

TINY = 1e-12
EDGE = 1e-6
"""Probabilities are kept this far from 0 and 1."""


def lengths(states: Tensor) -> Tensor:
    """L2 norm of each text's states, all tokens together: ``[m, 1, 1]``."""
    return states.flatten(1).norm(dim=1)[:, None, None]


def unit(states: Tensor) -> Tensor:
    """Each text's states, all tokens together, at length 1; zero where they are zero."""
    return states / lengths(states).clamp(min=TINY)


def within(change: Tensor, radius: Tensor) -> Tensor:
    """The change, shortened to ``radius`` where it is longer."""
    return change * (radius / lengths(change).clamp(min=TINY)).clamp(max=1.0)


def radius(reading: Reading, epsilon: float) -> Tensor:
    """``epsilon`` times the length of each text's states, padding left out: ``[m, 1, 1]``."""
    return epsilon * lengths(reading.entering * reading.real[:, :, None])


def uphill(reading: Reading, entering: Tensor, done: Pass) -> Tensor:
    """The gradient of the weighted losses by the states ``entering``; padding has none."""
    total = torch.stack([reading.weights[name] * loss for name, loss in done.losses.items()]).sum()
    (gradient,) = torch.autograd.grad(total, entering, retain_graph=True, allow_unused=True, materialize_grads=True)
    return gradient * reading.real[:, :, None]


def apart(one: Said, other: Said) -> Tensor:
    """How far two predictions of the same rows differ, on the mean; 0 where they are equal.

    Probabilities by the mean of both Kullback-Leibler divergences, amounts by their squared difference.
    """
    a, b = one.values, other.values
    if not a.numel():
        return a.sum() * 0.0
    if one.predicts == "binary":
        return 0.5 * ((a - b) * (a.logit(EDGE) - b.logit(EDGE))).mean()
    if one.predicts in ("multiclass", "tokens"):
        return 0.5 * ((a - b) * (a.clamp(min=EDGE).log() - b.clamp(min=EDGE).log())).sum(-1).mean()
    return (a - b).square().mean()
