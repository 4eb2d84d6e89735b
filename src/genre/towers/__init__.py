"""Towers: how the tasks share what lies between the features of a row and their heads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from torch import nn


class Towers(Protocol):
    """One way to share."""

    def build(self, width: int, dim: int, tasks: list[str]) -> nn.Module:
        """A module ``(features [m, width]) -> {task: features for its head [m, width_of]}``, one entry a task."""
        ...

    def width_of(self, width: int, dim: int) -> int:
        """Length of what a head is given, where the features are of length ``width`` and the model's are ``dim``."""
        ...
