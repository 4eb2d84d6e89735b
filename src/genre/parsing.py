"""Columns of text as numbers, times and words; what cannot be read is marked, never guessed."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from genre.types import Bools

if TYPE_CHECKING:
    import pyarrow as pa

NUMBER = r"^[-+]?((\d+\.?\d*|\.\d+)([eE][-+]?\d+)?|inf|infinity|nan)$"
EPOCH_STEPS = ((1e17, 1e9), (1e14, 1e6), (1e11, 1e3))
"""Epoch times at least this large count nano-, micro- or milliseconds: seconds reach 1e11 in the year 5138."""


class Parsed(NamedTuple):
    """A column's values and which of its cells were empty or unreadable (NaN in ``values``)."""

    values: NDArray[np.float64]
    missing: Bools
    bad: Bools


def words(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Any column as text without space around it; empty text as null."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_null(column.type):
        return pa.chunked_array([pa.nulls(len(column), pa.string())])
    if pa.types.is_floating(column.type):
        whole = pc.equal(pc.floor(column), column)
        if pc.all(pc.fill_null(whole, True)).as_py() and (pc.max(pc.abs(column)).as_py() or 0) < 2**53:
            column = column.cast(pa.int64())
    text = pc.utf8_trim_whitespace(column.cast(pa.string()))
    return pc.if_else(pc.equal(text, ""), pa.scalar(None, pa.string()), text)


def numbers(column: pa.ChunkedArray) -> Parsed:
    """A column of numbers, or of text that should be numbers; infinite values and NaN are values, not unreadable."""
    import pyarrow as pa
    import pyarrow.compute as pc

    missing = _mask(column.is_null())
    if _is_number(column):
        return Parsed(_floats(column.cast(pa.float64())), missing, np.zeros(len(column), dtype=bool))
    text = words(column)
    missing = _mask(text.is_null())
    readable = pc.fill_null(pc.match_substring_regex(text, NUMBER, ignore_case=True), False)
    values = pc.if_else(readable, text, pa.scalar(None, pa.string())).cast(pa.float64())
    return Parsed(_floats(values), missing, ~missing & ~_mask(readable))


def times(column: pa.ChunkedArray) -> Parsed:
    """UTC seconds from epoch numbers (seconds, or a thousandth, ... of them) or ISO 8601; no zone means UTC."""
    import pyarrow as pa

    kind = column.type
    if pa.types.is_date(kind) or (pa.types.is_timestamp(kind)):
        seconds = _floats(column.cast(pa.timestamp("us", kind.tz if pa.types.is_timestamp(kind) else None)), 1e6)
        return Parsed(seconds, _mask(column.is_null()), np.zeros(len(column), dtype=bool))
    parsed = numbers(column)
    values = _epoch(parsed.values)
    if parsed.bad.any():
        values[parsed.bad] = _iso(words(column).filter(pa.array(parsed.bad)))
    return Parsed(values, parsed.missing, parsed.bad & np.isnan(values))


def _epoch(values: NDArray[np.float64]) -> NDArray[np.float64]:
    values = values.copy()
    size = np.where(np.isfinite(values), np.abs(values), 0.0)
    taken = np.zeros(len(values), dtype=bool)
    for least, step in EPOCH_STEPS:
        large = (size >= least) & ~taken
        values[large] /= step
        taken |= large
    return values


def _iso(text: pa.ChunkedArray) -> NDArray[np.float64]:
    import pyarrow as pa

    for zone in (None, "UTC"):
        try:
            return _floats(text.cast(pa.timestamp("us", zone)), 1e6)
        except pa.ArrowInvalid:
            continue
    return np.array([_seconds(one) for one in text.to_pylist()])


def _seconds(text: str) -> float:
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        return np.nan
    return (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()


def _is_number(column: pa.ChunkedArray) -> bool:
    import pyarrow as pa

    kinds = (pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean, pa.types.is_decimal)
    return any(is_kind(column.type) for is_kind in kinds)


def _floats(column: Any, divide: float = 1.0) -> NDArray[np.float64]:
    import pyarrow as pa

    if pa.types.is_timestamp(column.type):
        column = column.cast(pa.int64())
    return column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False).astype(np.float64) / divide


def _mask(column: Any) -> Bools:
    return column.to_numpy(zero_copy_only=False).astype(bool)
