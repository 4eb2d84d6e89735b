"""Balancers: how the losses of several tasks become one step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from torch import nn


class Balancer(Protocol):
    """One way to weigh."""

    def build(self, weights: dict[str, float]) -> nn.Module:
        """A `genre.balancing.Balance` of the heads with their ``weights`` from the configuration."""
        ...
