"""An index by the number of items."""

from __future__ import annotations

from importlib.util import find_spec

from pydantic import PositiveInt

from genre.component import Slot, component
from genre.indexes import Search, VectorIndex
from genre.types import Floats, State


@component
class Auto:
    """`exact` for what a pass over all vectors answers in milliseconds, `hnsw` above, `ivf_pq` where memory matters.

    Without faiss it stays with `exact`.
    """

    exact_up_to: PositiveInt = 100_000
    """Most items for `exact`; larger misses nothing in larger catalogues, and takes longer to answer."""
    hnsw_up_to: PositiveInt = 2_000_000
    """Most items for `hnsw`; larger holds more in memory: 500 bytes an item with vectors of 128."""

    def chosen(self, n: int) -> tuple[VectorIndex, str]:
        """The index for ``n`` vectors, and why."""
        if n <= self.exact_up_to:
            name, why = "exact", f"auto: up to {self.exact_up_to:,} items"
        elif not find_spec("faiss"):
            name, why = "exact", "auto: faiss, which approximate indexes need, is not installed"
        elif n <= self.hnsw_up_to:
            name, why = "hnsw", f"auto: more than {self.exact_up_to:,} items"
        else:
            name, why = "ivf_pq", f"auto: more than {self.hnsw_up_to:,} items"
        return Slot("indexes").build(name), why

    def build(self, vectors: Floats) -> State:
        return self.chosen(len(vectors))[0].build(vectors)

    def open(self, state: State, vectors: Floats) -> Search:
        return self.chosen(len(vectors))[0].open(state, vectors)
