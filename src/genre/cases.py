"""What is asked of a recommender in validation and test: who, from which history, what came next, out of what."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from genre.data import Histories, Log
from genre.errors import GenreError
from genre.types import Bools, Ints

WANTED = {
    "all_unseen": "item new to its user",
    "impression": "impression with an item chosen and one passed over",
    "shown": "user who chose one item and passed over another",
}
"""What a part must hold to be asked of, by where the candidates come from."""


@dataclass(frozen=True)
class Cases:
    """``n`` questions: a user each, or an impression each."""

    user: Ints
    """``[n]``: row of the users table."""
    impression: Ints
    """``[n]``: -1 where the question is not about an impression."""
    histories: Histories
    targets: list[Ints]
    """Items that came next, for each; never empty."""
    shown: sparse.csr_matrix | None
    """``[n, items]``: what was shown, where just that is ranked."""
    n_items: int
    repeated: int = 0
    """Targets left out since they stand in the history already, so that they are not among the candidates."""

    @classmethod
    def of(cls, log: Log, part: Literal["valid", "test"], candidates: str = "all_unseen") -> Cases:
        """The questions of a part. Raises `GenreError` when there is none."""
        past, asked = log.before(part), log.parts(part)
        made = _users(asked, past) if candidates == "all_unseen" else _shown(asked, past, candidates == "impression")
        if not len(made):
            what = WANTED[candidates]
            raise GenreError(f"the {part} part holds no {what}, so there is nothing to measure; check data.split")
        return made

    def __len__(self) -> int:
        return len(self.user)

    def take(self, rows: NDArray[np.int64] | slice) -> Cases:
        """Some of the questions, in the order asked for."""
        at = np.arange(len(self))[rows]
        return replace(
            self,
            user=self.user[at],
            impression=self.impression[at],
            histories=self.histories.take(at),
            targets=[self.targets[i] for i in at],
            shown=None if self.shown is None else self.shown[at],
        )

    def sample(self, most: int, seed: int) -> Cases:
        """At most ``most`` of the questions, drawn at random, in their order."""
        if len(self) <= most:
            return self
        return self.take(np.sort(np.random.default_rng(seed).choice(len(self), most, replace=False)))

    def blocks(self, cells: int = 1 << 24) -> Iterator[Cases]:
        """The questions in order, so many at a time that ``[block, items]`` has at most ``cells`` cells."""
        size = max(1, cells // max(1, self.n_items))
        for i in range(0, len(self), size):
            yield self.take(slice(i, i + size))

    def allowed(self) -> Bools:
        """Which items are ranked for each: ``[n, items]``: those shown, or all that are not in the history."""
        if self.shown is not None:
            return self.shown.toarray() > 0
        return self.histories.matrix(self.n_items).toarray() == 0


def _users(asked: Log, past: Log) -> Cases:
    rows = asked.where(asked.positive)
    pairs = sparse.csr_matrix(rows.matrix())
    fresh = sparse.csr_matrix(pairs - pairs.multiply(past.matrix()))
    fresh.eliminate_zeros()
    fresh.sort_indices()
    users = np.flatnonzero(np.diff(fresh.indptr)).astype(np.int32)
    targets = [fresh.indices[fresh.indptr[u] : fresh.indptr[u + 1]].astype(np.int32) for u in users]
    none = np.full(len(users), -1, dtype=np.int32)
    repeated = int(pairs.nnz - fresh.nnz)
    return Cases(users, none, Histories.of(past, users), targets, None, asked.n_items, repeated)


def _shown(asked: Log, past: Log, together: bool) -> Cases:
    """What was shown ``together``, or to a user at any time of the part, where something was chosen and something not.

    Elsewhere there is nothing to rank.
    """
    rows = asked.where(asked.impression >= 0) if together else asked
    impression = rows.impression if together else np.full(len(rows), -1, dtype=np.int32)
    # An impression number is used by one user only in most logs, but nothing says that it must be.
    keys, owner = np.unique(np.stack([rows.user, impression]), axis=1, return_inverse=True)
    size = (keys.shape[1], asked.n_items)
    chosen = rows.positive
    shown = _binary(owner, rows.item, size)
    hits = _binary(owner[chosen], rows.item[chosen], size)
    n_hits, n_shown = np.diff(hits.indptr), np.diff(shown.indptr)
    kept = np.flatnonzero((n_hits > 0) & (n_hits < n_shown))
    targets = [hits.indices[hits.indptr[i] : hits.indptr[i + 1]].astype(np.int32) for i in kept]
    users, impressions = keys[0, kept].astype(np.int32), keys[1, kept].astype(np.int32)
    return Cases(users, impressions, Histories.of(past, users), targets, shown[kept], asked.n_items)


def _binary(rows: NDArray[np.int64], columns: Ints, shape: tuple[int, int]) -> sparse.csr_matrix:
    matrix = sparse.csr_matrix((np.ones(len(columns), dtype=np.float32), (rows, columns)), shape=shape)
    matrix.sum_duplicates()
    matrix.data[:] = 1.0
    return matrix
