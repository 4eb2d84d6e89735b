"""User encoders: from the vectors of what a person did to a vector of what they want next."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from torch import nn


class UserEncoder(Protocol):
    """One way to read a history."""

    def build(self, dim: int, max_length: int, dropout: float) -> nn.Module:
        """A module ``(events [b, l, dim], mask [b, l]) -> states [b, l + 1, dim]``.

        State ``j`` has read the first ``j`` events and no later one; state 0 is that of a person without a history.
        ``mask`` is true at real events; they come first.
        """
        ...
