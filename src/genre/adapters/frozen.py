"""No fine-tuning."""

from __future__ import annotations

from typing import TYPE_CHECKING

from genre.component import component

if TYPE_CHECKING:
    from torch import nn


@component
class Frozen:
    """The language model stays as it came: its text vectors are computed once and everything after them is trained.

    The cheapest choice, and the one that every other adapter must beat.
    """

    def first_layer(self, depth: int) -> int:
        return depth

    def apply(self, layers: nn.ModuleList) -> None:
        layers.requires_grad_(False)
