"""Regions, and codes of a few bytes."""

from __future__ import annotations

from typing import Any

import numpy as np
from pydantic import PositiveInt

from genre.component import component
from genre.indexes import Search
from genre.nearest import faiss_module, rescored
from genre.types import Floats, State

EACH = 39
"""Vectors a centre that faiss wants at least, to place it."""
WORDS = 256
"""Words that a piece of a vector is one of: a byte's."""


@component
class IVFPQ:
    """Looks into the regions of space nearest to the query, at codes of ``code`` bytes in place of vectors.

    The smallest to keep, for catalogues of millions; `hnsw` finds more in less time where memory allows. The best by
    their codes are told apart by their whole vectors. Jegou, Douze and Schmid (2011),
    https://doi.org/10.1109/TPAMI.2010.57; by https://faiss.ai.
    """

    regions: PositiveInt | None = None
    """Regions that the vectors are divided into; more make each smaller. None takes 4 times the root of the number."""
    probes: PositiveInt = 64
    """Regions that are looked into; more find more, more slowly."""
    code: PositiveInt = 32
    """Bytes of a vector's code; more find more, and cost memory. Where the length of a vector is no multiple of it, the
    next smaller number of bytes that divides it."""
    wider: PositiveInt = 4
    """For ``k`` results so many times ``k`` are taken by their codes and then compared exactly; more find more."""

    def build(self, vectors: Floats) -> State:
        faiss: Any = faiss_module()
        vectors = np.ascontiguousarray(vectors, dtype=np.float32)
        n, dim = vectors.shape
        if n < EACH * WORDS:
            # Too few to learn a code from, and too few to need one.
            return {}
        wanted = self.regions or round(4 * np.sqrt(n))
        regions = max(1, min(wanted, n // EACH))
        code = next(size for size in range(min(self.code, dim), 0, -1) if dim % size == 0)
        coarse = faiss.IndexFlatIP(dim)
        made = faiss.IndexIVFPQ(coarse, dim, regions, code, 8, faiss.METRIC_INNER_PRODUCT)
        made.train(vectors)
        made.add(vectors)
        return {"faiss": faiss.serialize_index(made)}

    def open(self, state: State, vectors: Floats) -> Search:
        if not state:
            from genre.nearest import exact

            return lambda queries, k: exact(vectors, queries, k)
        faiss: Any = faiss_module()
        made = faiss.deserialize_index(state["faiss"])
        n = len(vectors)

        def search(queries: Floats, k: int) -> tuple[Any, Any]:
            asked = faiss.SearchParametersIVF(nprobe=self.probes)
            _, found = made.search(
                np.ascontiguousarray(queries, dtype=np.float32), min(n, k * self.wider), params=asked
            )
            return rescored(vectors, queries, found, k)

        return search
