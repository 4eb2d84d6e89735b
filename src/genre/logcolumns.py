"""Columns of Arrow tables as arrays of numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from genre.errors import DataError
from genre.types import Floats, Ints

if TYPE_CHECKING:
    import pyarrow as pa

MOST_WORDS = 1000
"""A column of the interactions with more distinct words than this holds texts, not categories."""


def numeric(column: pa.ChunkedArray) -> bool:
    """Whether a column holds numbers, or yes and no."""
    import pyarrow as pa

    return pa.types.is_integer(column.type) or pa.types.is_floating(column.type) or pa.types.is_boolean(column.type)


def categorical(column: pa.ChunkedArray) -> bool:
    """Whether a column holds words of which there are at most `MOST_WORDS`."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
        return False
    # A look at the beginning tells most texts, so that they are not all read.
    counts = (pc.count_distinct(rows).as_py() for rows in (column.slice(0, 10 * MOST_WORDS), column))  # pyright: ignore[reportAttributeAccessIssue]
    return all(count <= MOST_WORDS for count in counts)


def numbers_of(column: pa.ChunkedArray) -> Floats:
    """Numbers of a column; NaN for null."""
    import pyarrow as pa

    return column.cast(pa.float32()).to_numpy(zero_copy_only=False).astype(np.float32, copy=False)


def codes_of(column: pa.ChunkedArray) -> tuple[Ints, tuple[str, ...]]:
    """Numbers for the words of a column, in sorted order of the words; -1 for null."""
    words = sorted(word for word in column.unique().to_pylist() if word is not None)
    return _lookup(column, words), tuple(words)


def numbered(column: pa.ChunkedArray) -> Ints:
    """A number for each distinct word, in no order; -1 for null."""
    coded: pa.Array = column.dictionary_encode().combine_chunks().indices
    return coded.fill_null(-1).to_numpy(zero_copy_only=False)


def counted(column: pa.ChunkedArray) -> Counter[Any]:
    """How often each word, and null, occurs, in order of first appearance."""
    found = column.value_counts()
    return Counter(dict(zip(found.field("values").to_pylist(), found.field("counts").to_pylist(), strict=True)))


def rows_of(column: pa.ChunkedArray, ids: pa.ChunkedArray) -> Ints:
    """The row in another table of each id. Raises `DataError` for one that is not there."""
    rows = _lookup(column, ids)
    if (rows < 0).any():
        missing = column[int(np.argmin(rows))].as_py()
        raise DataError(f"id '{missing}' is in the interactions but not in its own table")
    return rows


def _lookup(column: pa.ChunkedArray, words: Sequence[str] | pa.ChunkedArray) -> Ints:
    """Place of each among the words, -1 where it is not one; a chunk at a time."""
    import pyarrow as pa
    import pyarrow.compute as pc

    known = pa.array(words, type=column.type) if isinstance(words, Sequence) else words.combine_chunks()
    table = pc.SetLookupOptions(value_set=known.cast(column.type))
    places = np.full(len(column), -1, dtype=np.int32)
    start = 0
    for chunk in column.chunks:
        found = pc.fill_null(pc.call_function("index_in", [chunk], table), -1)
        places[start : start + len(chunk)] = found.to_numpy(zero_copy_only=False)
        start += len(chunk)
    return places
