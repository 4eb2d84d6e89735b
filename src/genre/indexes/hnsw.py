"""A graph of neighbours."""

from __future__ import annotations

from typing import Any

import numpy as np
from pydantic import PositiveInt

from genre.component import component
from genre.indexes import Search
from genre.nearest import faiss_module, rescored
from genre.types import Floats, State


@component
class HNSW:
    """Walks from vector to vector along a graph of near ones: time grows with the logarithm of their number.

    The quickest to ask; dearer to build and to keep than `ivf_pq`, as it holds vectors of half the precision and
    ``links`` for each. Built by several threads, two graphs of the same vectors differ a little.
    Malkov and Yashunin (2018), https://arxiv.org/abs/1603.09320; by https://faiss.ai.
    """

    links: PositiveInt = 32
    """Neighbours of each vector in the graph; more find more, cost memory (8 bytes each) and time."""
    build_width: PositiveInt = 80
    """Candidates kept in mind while a vector is linked; larger makes a better graph more slowly."""
    width: PositiveInt = 200
    """Candidates kept in mind while searching, at least ``k`` of them; larger finds more, more slowly."""

    def build(self, vectors: Floats) -> State:
        faiss: Any = faiss_module()
        kind = faiss.ScalarQuantizer.QT_fp16
        made = faiss.IndexHNSWSQ(vectors.shape[1], kind, self.links, faiss.METRIC_INNER_PRODUCT)
        made.hnsw.efConstruction = self.build_width
        vectors = np.ascontiguousarray(vectors, dtype=np.float32)
        made.train(vectors)
        made.add(vectors)
        return {"faiss": faiss.serialize_index(made)}

    def open(self, state: State, vectors: Floats) -> Search:
        faiss: Any = faiss_module()
        made = faiss.deserialize_index(state["faiss"])

        def search(queries: Floats, k: int) -> tuple[Any, Any]:
            asked = faiss.SearchParametersHNSW(efSearch=max(self.width, k))
            _, found = made.search(np.ascontiguousarray(queries, dtype=np.float32), k, params=asked)
            return rescored(vectors, queries, found, k)

        return search
