"""Optimizers: how far and in which direction a gradient moves each weight."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import torch

Group = dict[str, Any]
"""Weights that are moved alike: ``params``, their ``lr`` and ``weight_decay``, and whether each is a ``table``.

A table has a row for each item or word, of which a step touches those that occurred; it is no matrix that multiplies.
"""


class Optimizer(Protocol):
    """One way to step."""

    def make(self, groups: list[Group]) -> torch.optim.Optimizer:
        """An optimizer of these weights. Its state is tensors and numbers, so that a checkpoint can hold it."""
        ...
