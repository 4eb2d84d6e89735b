"""Columns of the items and users tables as words, for some of their rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from genre.component import suggest
from genre.errors import DataError
from genre.types import Bools, Ints

if TYPE_CHECKING:
    import pyarrow as pa

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Words:
    """What some rows of a table say in one column: none, one, or several words each, in order."""

    row: Rows
    """``[words said]``: which of the rows asked for."""
    code: Ints
    """``[words said]``: index into ``words``."""
    words: list[str]
    several: bool
    """Whether a row may say more than one."""

    def table(self, n: int) -> Ints:
        """Codes of each of ``n`` rows, ``[n, most]``; `len(words)` where a row says fewer."""
        said = np.bincount(self.row, minlength=n)
        place = np.arange(len(self.row)) - np.repeat(np.cumsum(said) - said, said)
        codes = np.full((n, max(1, int(said.max(initial=0)))), len(self.words), dtype=np.int32)
        codes[self.row, place] = self.code
        return codes


def column(table: pa.Table | None, name: str, rows: Rows, whose: str) -> Any:
    """A column of some rows as one Arrow array. Raises `DataError` where there is no such column."""
    known = [] if table is None else table.column_names
    if table is None or name not in known:
        hint = suggest(name, known) if known else "there is no such table"
        raise DataError(f"the {whose} have no column '{name}'; {hint}")
    taken: Any = table.column(name).take(rows)
    return taken.combine_chunks()


def flat(values: Any) -> tuple[Rows, Any]:
    """What is said, without what is missing, and which row says it; a list says several things."""
    import pyarrow as pa
    import pyarrow.compute as pc

    compute: Any = pc
    owner = np.arange(len(values))
    if _several(values):
        owner = compute.list_parent_indices(values).to_numpy(zero_copy_only=False).astype(np.int64)
        values = compute.list_flatten(values)
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    known = values.is_valid().to_numpy(zero_copy_only=False)
    return owner[known], values.drop_null()


def words(table: pa.Table | None, name: str, rows: Rows, whose: str) -> Words:
    """What some rows say in a column, as words; numbers are words too."""
    values = column(table, name, rows, whose)
    row, said = flat(values)
    coded = said.cast("string").dictionary_encode()
    code = coded.indices.to_numpy(zero_copy_only=False).astype(np.int32)
    return Words(row, code, coded.dictionary.to_pylist(), _several(values))


def _several(values: Any) -> bool:
    import pyarrow as pa

    return pa.types.is_list(values.type) or pa.types.is_large_list(values.type)


def distinct(items: Ints) -> tuple[Rows, Rows]:
    """The items of lists, each once, and where each of ``[b, n]`` stands among them; the places of -1 mean nothing."""
    rows = np.unique(items[items >= 0]).astype(np.int64)
    return rows, np.minimum(np.searchsorted(rows, items), max(len(rows) - 1, 0))


def spread(of_rows: Bools, at: Rows, items: Ints) -> Bools:
    """What holds of distinct rows, ``[b or 1, rows]``, for the items ``[b, n]``; false where there is none."""
    if not of_rows.shape[1]:
        return np.zeros(items.shape, dtype=bool)
    people = np.zeros((len(items), 1), dtype=np.int64) if len(of_rows) == 1 else np.arange(len(items))[:, None]
    return of_rows[people, at] & (items >= 0)
