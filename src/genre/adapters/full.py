"""Fine-tuning of every layer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from genre.component import component

if TYPE_CHECKING:
    from torch import nn


@component
class Full:
    """Every weight of every layer is trained; only the table of word vectors stays, which few texts could move.

    The most that can change, and the dearest: no layer's states can be computed once. With little data `lora` or
    `top_layers` generalise as well.
    """

    def first_layer(self, depth: int) -> int:
        return 0

    def apply(self, layers: nn.ModuleList) -> None:
        layers.requires_grad_(True)
