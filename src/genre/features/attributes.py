"""What items and people are, as far as the tables say."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import NonNegativeFloat, PositiveInt
from scipy import sparse

from genre.candidates import Candidates
from genre.component import component
from genre.data import Histories, Log
from genre.sources import Resources
from genre.types import Floats, Ints, State

if TYPE_CHECKING:
    import pyarrow as pa

MOST_WORDS = 5000
"""A column with more distinct words than this names things, and sorts nothing."""
BLOCK = 1 << 16
"""Candidates looked up at a time."""


@component
class Attributes:
    """Numbers of the items table as they are; of its words (categories, tags) the share of the history that has them;
    and by each column of the users table, how much more people like this one choose the item than others do.

    Columns are found by their type: numbers, words with at most 5,000 distinct ones, lists of such words. Titles and
    other texts are read by the language model instead.
    """

    prior: NonNegativeFloat = 20.0
    """Choices that are assumed to be as everybody's, for each item and word of the users; larger trusts few less."""
    most_columns: PositiveInt = 20
    """Columns of each table that are read at most, in their order; more cost time."""

    def fit(self, log: Log, resources: Resources) -> State:
        state: State = {}
        items: Any = resources.items
        for name in _columns(items, "item_id")[: self.most_columns]:
            column = items[name]
            if _is_number(column):
                state[f"number.{name}"] = column.cast("float32").to_numpy(zero_copy_only=False).astype(np.float32)
            elif (words := _words(column)) is not None:
                state[f"shared.{name}"] = words
        return state if resources.users is None else state | self._of_users(log, resources.users)

    def _of_users(self, log: Log, people: pa.Table) -> State:
        state: State = {}
        for name in _columns(people, "user_id")[: self.most_columns]:
            words = _words(people[name])
            if words is not None:
                state |= {f"liked.{name}": self._liked(log, words), f"people.{name}": words}
        return state

    def _liked(self, log: Log, people: sparse.csr_matrix) -> Floats:
        """Log of how much more often people with each word choose each item than all do: ``[words, items]``."""
        chosen = log.matrix()
        counts = np.asarray((people.T @ chosen).todense(), dtype=np.float32)
        share = np.asarray(chosen.sum(0), dtype=np.float32).ravel() / max(chosen.nnz, 1)
        expected = share * counts.sum(1, keepdims=True)
        weight = max(self.prior, 1e-6)
        return np.log((counts + weight) / (expected + weight)).astype(np.float32)

    def values(
        self, state: State, candidates: Candidates, histories: Histories, resources: Resources
    ) -> dict[str, Floats]:
        columns: dict[str, Floats] = {}
        for key, value in state.items():
            kind, _, name = key.partition(".")
            if kind == "number":
                columns[f"attributes.{name}"] = value[candidates.item]
            elif kind == "shared":
                columns[f"attributes.{name}.shared"] = _shared(value, candidates, histories)
            elif kind == "liked":
                words = state[f"people.{name}"]
                columns[f"attributes.{name}.liked"] = _of_people(value, words, candidates, histories.users)
        return columns


def _columns(table: pa.Table, key: str) -> list[str]:
    return [name for name in table.column_names if name not in (key, "title")]


def _is_number(column: pa.ChunkedArray) -> bool:
    import pyarrow as pa

    return pa.types.is_integer(column.type) or pa.types.is_floating(column.type) or pa.types.is_boolean(column.type)


def _words(column: pa.ChunkedArray) -> sparse.csr_matrix | None:
    """Which row has which word, ``[rows, words]``; None where the column sorts nothing."""
    import pyarrow as pa
    import pyarrow.compute as pc

    compute: Any = pc
    kind = column.type
    if pa.types.is_list(kind) and pa.types.is_string(kind.value_type):
        owner = compute.list_parent_indices(column).to_numpy().astype(np.int64)
        flat = compute.list_flatten(column)
    elif pa.types.is_string(kind):
        owner, flat = np.arange(len(column)), column
    else:
        return None
    coded = pa.chunked_array(flat.dictionary_encode().chunks).combine_chunks() if len(flat) else None
    if coded is None or not 1 < len(coded.dictionary) <= min(MOST_WORDS, max(len(column) // 2, 2)):
        return None
    code = coded.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
    known = code >= 0
    ones = np.ones(int(known.sum()), dtype=np.float32)
    found = sparse.csr_matrix((ones, (owner[known], code[known])), shape=(len(column), len(coded.dictionary)))
    found.data[:] = 1.0
    return found


def _shared(words: sparse.csr_matrix, candidates: Candidates, histories: Histories) -> Floats:
    """Mean over the candidate's words of the share of the history that has the word; NaN without words or history."""
    n = np.asarray(words.sum(1)).ravel()
    had = histories.matrix(len(n))
    profile = sparse.csr_matrix(had @ words)
    lengths = np.maximum(np.asarray(had.sum(1)).ravel(), 1)
    profile = sparse.csr_matrix(sparse.diags_array(1 / lengths) @ profile)
    said = np.empty(len(candidates), dtype=np.float32)
    owner = candidates.owner
    for i in range(0, len(candidates), BLOCK):
        part = slice(i, i + BLOCK)
        both = profile[owner[part]].multiply(words[candidates.item[part]])
        said[part] = np.asarray(both.sum(1)).ravel() / np.maximum(n[candidates.item[part]], 1)
    return np.where((n[candidates.item] > 0) & (histories.lengths[owner] > 0), said, np.nan).astype(np.float32)


def _of_people(liked: Floats, people: sparse.csr_matrix, candidates: Candidates, users: Ints) -> Floats:
    """``liked`` of the person's word and the candidate, the mean of several words; NaN for people without."""
    known = sparse.diags_array((users >= 0).astype(np.float32))
    rows = sparse.csr_matrix(known @ people[np.maximum(users, 0)])
    n = np.asarray(rows.sum(1)).ravel()
    dense = np.asarray(rows @ liked) / np.maximum(n, 1)[:, None]
    said = dense[candidates.owner, candidates.item]
    return np.where(n[candidates.owner] > 0, said, np.nan).astype(np.float32)
