"""Adapters: which of the language model's weights are trained, and how."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from torch import nn


class Adapter(Protocol):
    """One way to fine-tune."""

    def first_layer(self, depth: int) -> int:
        """The lowest of ``depth`` layers that is trained, ``depth`` if none is; what lies below is computed once."""
        ...

    def apply(self, layers: nn.ModuleList) -> None:
        """Change the trained layers in place so that just the adapter's parameters require a gradient."""
        ...
