"""Indexes: the items whose vectors have the largest inner product with a query's, found without asking all of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from genre.types import Floats, Ints, State

Search = Callable[[Floats, int], tuple[Ints, Floats]]
"""From queries ``[q, dim]`` and ``k``: rows of the ``k`` best vectors ``[q, k]`` and their inner products, best first.

-1 and -inf where fewer were found. The products are exact whatever the index keeps; what may be wrong is which rows.
"""


class VectorIndex(Protocol):
    """One way to find neighbours. `auto` has one method more: ``chosen(n)``, the index for ``n`` vectors, and why."""

    def build(self, vectors: Floats) -> State:
        """What is kept of ``vectors [n, dim]`` to search them, beside the vectors themselves: arrays of numbers."""
        ...

    def open(self, state: State, vectors: Floats) -> Search:
        """The search over ``vectors``, of which `build` gave ``state``. It is opened once and asked often."""
        ...
