"""All vectors, every time."""

from __future__ import annotations

from genre.component import component
from genre.indexes import Search
from genre.nearest import exact
from genre.types import Floats, State


@component
class Exact:
    """Products with all vectors in blocks, of which the best are taken without sorting the rest. Misses nothing.

    Keeps nothing beside the vectors, and takes time in proportion to them: as long as reading them from memory takes.
    """

    def build(self, vectors: Floats) -> State:
        return {}

    def open(self, state: State, vectors: Floats) -> Search:
        return lambda queries, k: exact(vectors, queries, k)
