"""Largest inner products without an index: a matrix product in blocks; and exact products of rows that were found."""

from __future__ import annotations

import numpy as np

from genre.errors import GenreError
from genre.ranking import top_lists
from genre.types import Bools, Floats, Ints

CELLS = 1 << 24
"""Queries times vectors at a time."""


def exact(vectors: Floats, queries: Floats, k: int) -> tuple[Ints, Floats]:
    """The ``k`` best of all vectors, equal ones in their order: `genre.indexes.Search` says of what form."""
    rows, scores = [], []
    size = max(1, CELLS // max(1, len(vectors)))
    for i in range(0, len(queries), size):
        products = queries[i : i + size] @ vectors.T
        rows.append(top_lists(products, _all(products), k))
        taken = np.take_along_axis(products, np.maximum(rows[-1], 0), 1) if len(vectors) else np.zeros(rows[-1].shape)
        scores.append(np.where(rows[-1] >= 0, taken, -np.inf).astype(np.float32))
    if not rows:
        return np.zeros((0, k), dtype=np.int32), np.zeros((0, k), dtype=np.float32)
    return np.concatenate(rows), np.concatenate(scores)


def _all(products: Floats) -> Bools:
    # One true cell that looks like as many as there are products.
    return np.broadcast_to(np.ones((1, 1), dtype=bool), products.shape)


def rescored(vectors: Floats, queries: Floats, found: Ints, k: int) -> tuple[Ints, Floats]:
    """The ``k`` best of the rows ``found [q, any]`` by their exact products; -1 stands for no row."""
    found = np.sort(found, axis=1)
    # A row that was found twice counts once.
    found[:, 1:][found[:, 1:] == found[:, :-1]] = -1
    products = np.full(found.shape, -np.inf, dtype=np.float32)
    size = max(1, CELLS // max(1, found.shape[1] * vectors.shape[1]))
    for i in range(0, len(found), size):
        some = found[i : i + size]
        exactly = np.einsum("qd,qrd->qr", queries[i : i + size], vectors[np.maximum(some, 0)], optimize=True)
        products[i : i + size] = np.where(some >= 0, exactly, -np.inf)
    order = np.argsort(-products, axis=1, kind="stable")[:, :k]
    rows, scores = np.take_along_axis(found, order, 1), np.take_along_axis(products, order, 1)
    rows = np.where(np.isneginf(scores), -1, rows).astype(np.int32)
    missing = ((0, 0), (0, k - rows.shape[1]))
    return np.pad(rows, missing, constant_values=-1), np.pad(scores, missing, constant_values=-np.inf)


def recall(found: Ints, true: Ints) -> float:
    """Share of the rows of ``true [q, k]`` that are among those ``found`` for the same query; -1 is no row."""
    hits = wanted = 0
    for some, all_of in zip(found, true, strict=True):
        known = all_of[all_of >= 0]
        hits, wanted = hits + int(np.isin(known, some).sum()), wanted + len(known)
    return hits / wanted if wanted else 1.0


def faiss_module() -> object:
    """The library of approximate indexes. Raises `GenreError` where it is not installed."""
    try:
        import faiss
    except ImportError as error:
        mend = "install it with 'pip install genre-recommender[indexes]', or set pipeline.index to exact"
        raise GenreError(f"pipeline.index: hnsw and ivf_pq need faiss, which is not installed; {mend}") from error
    return faiss
