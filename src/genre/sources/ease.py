"""A linear model of what goes with what."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import PositiveFloat, PositiveInt
from scipy import sparse

from genre.component import component
from genre.data import Histories, Log
from genre.errors import GenreError
from genre.sources import Resources
from genre.types import Floats, Ints, State

BLOCK = 1024
"""Items that are compared with all others at a time."""
MOST_BYTES = 1 << 30
"""Memory for the weights of settings that are solved together."""


@component
class EASE:
    """Each item is predicted from all others by ridge regression, in closed form: hard to beat without order or text.

    Time grows with the cube of the catalogue and memory with its square. Above `most_items` each item is therefore
    predicted from its nearest alone, which is as good at the head of a list, and a note says so. Steck (2019),
    https://arxiv.org/abs/1905.03375; the sparse form: Steck (2019), https://arxiv.org/abs/1910.09645.
    """

    top_k: PositiveInt = 300
    """Candidates to retrieve; more miss less and cost time."""
    reg: PositiveFloat = 200.0
    """Ridge penalty; larger trusts rare pairs less and leans to popular items."""
    most_items: PositiveInt = 10_000
    """Items up to which all are weighed against all; 10,000 take 0.4 GB. Smaller is quicker and reaches less far."""
    neighbours: PositiveInt = 200
    """Above that, nearest items by cosine that each is predicted from; larger is nearer to the full form and slower."""
    GRID: ClassVar[dict[str, list[Any]]] = {
        "reg": [10.0, 20.0, 35.0, 50.0, 75.0, 100.0, 150.0, 200.0, 300.0, 400.0, 600.0, 800.0]
    }

    def fit(self, log: Log, resources: Resources) -> State:
        return next(self.fit_each([self], log, resources))

    def fit_each(self, tried: Sequence[EASE], log: Log, resources: Resources) -> Iterator[State]:
        """See `Source`: who chose what together is counted once for all of ``reg``."""
        matrix, regs = log.matrix(), [one.reg for one in tried]
        if log.n_items > self.most_items:
            _say_sparse(log.n_items, self.most_items, self.neighbours)
            weights: Iterator[Any] = _near(matrix, regs, self.neighbours)
        else:
            weights = (_from_people if 2 * log.n_users < log.n_items else _whole)(matrix, regs)
        # A generator would keep the last one while the next is made.
        return map(_state, weights)

    def score(self, state: State, histories: Histories, resources: Resources) -> Floats:
        weights = state["weights"]
        scores = histories.matrix(weights.shape[0]) @ weights
        return np.asarray(scores.todense() if sparse.issparse(scores) else scores, dtype=np.float32)


@cache
def _say_sparse(n_items: int, most: int, neighbours: int) -> None:
    """Said once, however many settings are tried."""
    why = f"{n_items} items are more than most_items ({most})"
    print(f"note: ease: {why}: each is predicted from its {neighbours} nearest, not from all", file=sys.stderr)


def _state(weights: Any) -> State:
    return {"weights": weights}


def _whole(matrix: sparse.csr_matrix, regs: Sequence[float]) -> Iterator[Floats]:
    """Weights of all items for all items, for each of the penalties."""
    together = matrix.T @ matrix
    return (_inverted(together.toarray(order="F"), reg) for reg in regs)


def _inverted(gram: Floats, reg: float) -> Floats:
    """Weights from how often items were chosen together; the matrix is factorised and inverted in place."""
    from scipy.linalg import get_lapack_funcs

    gram[np.diag_indices_from(gram)] += reg
    factorise, invert = get_lapack_funcs(("potrf", "potri"), (gram,))
    factor, info = factorise(gram, lower=1, overwrite_a=1)
    inverse, info2 = invert(factor, lower=1, overwrite_c=1)
    if info or info2:
        raise GenreError("ease: the item-item matrix could not be inverted; use a larger reg")
    weights = _mirrored(inverse)
    weights /= -weights.diagonal().copy()
    np.fill_diagonal(weights, 0.0)
    return weights


def _from_people(matrix: sparse.csr_matrix, regs: Sequence[float]) -> Iterator[Floats]:
    """The same weights through the matrix of people, which is the smaller one where they are few (Woodbury)."""
    from scipy.linalg import get_lapack_funcs

    (solve,) = get_lapack_funcs(("posv",), dtype=np.float32)
    shared = matrix @ matrix.T

    def weights_of(reg: float) -> Floats:
        between = shared.toarray(order="F")
        between[np.diag_indices_from(between)] += reg
        _, found, info = solve(between, matrix.toarray(order="F"), lower=1, overwrite_a=1, overwrite_b=1)
        if info:
            raise GenreError("ease: the matrix of people could not be inverted; use a larger reg")
        weights = np.asarray(sparse.csr_matrix(matrix.T) @ np.ascontiguousarray(found))
        weights /= 1 - weights.diagonal().copy()
        np.fill_diagonal(weights, 0.0)
        return weights

    return map(weights_of, regs)


def _mirrored(lower: Floats, block: int = 1024) -> Floats:
    """The symmetric matrix, by rows, of which the lower triangle is given by columns; no second matrix is made."""
    rows = lower.T
    for i in range(0, len(rows), block):
        edge = min(i + block, len(rows))
        rows[i:edge, :i] = rows[:i, i:edge].T
        corner = rows[i:edge, i:edge]
        corner[:] = np.triu(corner) + np.triu(corner, 1).T
    return rows


def _near(matrix: sparse.csr_matrix, regs: Sequence[float], neighbours: int) -> Iterator[sparse.csr_matrix]:
    """Weights of each item's nearest for it, a small regression an item: ``[items, items]``, few in a column.

    One for each of the penalties, of which as many are solved at once as `MOST_BYTES` has room for.
    """
    people = sparse.csr_matrix(matrix.T)
    lists = _nearest(people, matrix, neighbours)
    ends = np.concatenate([[0], np.cumsum([len(near) for near in lists])])
    rows = np.concatenate(lists)
    at_once = max(1, MOST_BYTES // max(1, 4 * len(rows)))
    for i in range(0, len(regs), at_once):
        for weights in _solved(people, lists, ends, regs[i : i + at_once]):
            columns = sparse.csc_matrix((weights, rows, ends), shape=(len(lists), len(lists)))
            yield sparse.csr_matrix(columns)


def _solved(people: sparse.csr_matrix, lists: list[Ints], ends: NDArray[np.int64], regs: Sequence[float]) -> Floats:
    """Weights of every item's nearest, one after another: ``[regs, all the nearest]``."""
    from scipy.linalg import get_lapack_funcs

    (solve,) = get_lapack_funcs(("posv",), dtype=np.float32)
    weights = np.empty((len(regs), ends[-1]), dtype=np.float32)
    for item, near in enumerate(lists):
        if not len(near):
            continue
        gram = _together(people, np.append(near, np.int32(item)))
        for number, reg in enumerate(regs):
            left = gram[:-1, :-1] + reg * np.eye(len(near), dtype=np.float32)
            _, found, info = solve(left, gram[:-1, -1:], lower=1)
            if info:
                raise GenreError("ease: the matrix of an item's nearest could not be inverted; use a larger reg")
            weights[number, ends[item] : ends[item + 1]] = found[:, 0]
    return weights


def _nearest(people: sparse.csr_matrix, matrix: sparse.csr_matrix, neighbours: int) -> list[Ints]:
    """The items of largest cosine to each, fewer where fewer share a person with it."""
    lists: list[Ints] = []
    norm = np.sqrt(np.maximum(np.diff(people.indptr), 1))
    for i in range(0, len(norm), BLOCK):
        together = sparse.coo_matrix(people[i : i + BLOCK] @ matrix)
        other = together.row + i != together.col
        row, column = together.row[other], together.col[other]
        cosine = together.data[other] / norm[column]
        order = np.lexsort((column, -cosine, row))
        counts = np.bincount(row, minlength=min(BLOCK, len(norm) - i))
        place = np.arange(len(order)) - np.repeat(np.cumsum(counts) - counts, counts)
        keep = order[place < neighbours]
        lists += np.split(column[keep].astype(np.int32), np.cumsum(np.minimum(counts, neighbours))[:-1])
    return lists


def _together(people: sparse.csr_matrix, items: Ints) -> Floats:
    """How many people chose both, for each two of some items; only the people among them are looked at."""
    some = people[items]
    known, column = np.unique(some.indices, return_inverse=True)
    packed = sparse.csr_matrix((some.data, column, some.indptr), shape=(len(items), len(known)))
    return np.asarray((packed @ packed.T).todense(), dtype=np.float32)
