"""Adapters: which of the language model's weights are trained, and how."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from genre.stack import Stack, Tuning

Part = Literal["query", "key", "value", "output", "up", "down"]
"""A weight matrix of a layer, in the same words for every language model.

Attention reads the states by ``query``, ``key`` and ``value`` and writes by ``output``; the feed-forward net reads by
``up`` (two matrices side by side in Llama-class models) and writes by ``down``.
"""


class Adapter(Protocol):
    """One way to fine-tune."""

    def taps(self, depth: int) -> tuple[int, ...]:
        """The layers whose input states it reads, of a model of ``depth`` layers, lowest first.

        Most adapters have one: the lowest layer that they train, or ``depth``, the output of the last layer. What lies
        below the taps is computed once.
        """
        ...

    def apply(self, stack: Stack) -> Tuning:
        """Change the stack, whose weights are all closed, so that just the adapter's own require a gradient."""
        ...
