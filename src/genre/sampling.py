"""A part of a log that is like the whole: some of its people, with all that they did."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from genre.datasets import Reading

if TYPE_CHECKING:
    import pyarrow as pa

FEWEST = 50
"""Where there are fewer people than this, rows are drawn instead."""


def sample(reading: Reading, rows: int, seed: int) -> Reading:
    """People drawn at random until they have about ``rows`` interactions, and the items and users that these name."""
    table = reading.interactions
    if table.num_rows <= rows:
        return reading
    user = _numbers(table["user_id"]) if "user_id" in table.column_names else np.zeros(table.num_rows, dtype=np.int64)
    rng = np.random.default_rng([seed, 11])
    people = int(user.max()) + 1
    if people < FEWEST:
        kept = np.zeros(table.num_rows, dtype=bool)
        kept[rng.permutation(table.num_rows)[:rows]] = True
    else:
        order = rng.permutation(people)
        counts = np.bincount(user, minlength=people)[order]
        enough = int(np.searchsorted(np.cumsum(counts), rows)) + 1
        chosen = np.zeros(people, dtype=bool)
        chosen[order[: max(2, enough)]] = True
        kept = chosen[user]
    few = table.take(np.flatnonzero(kept))
    return replace(
        reading,
        interactions=few,
        items=_named(reading.items, "item_id", few),
        users=_named(reading.users, "user_id", few),
        rejected=[],
    )


def _numbers(column: Any) -> np.ndarray:
    return column.combine_chunks().dictionary_encode().indices.fill_null(0).to_numpy(zero_copy_only=False)


def _named(table: pa.Table | None, key: str, log: pa.Table) -> pa.Table | None:
    """The rows of a table of items or users that a log names."""
    if table is None or key not in table.column_names or key not in log.column_names:
        return table
    known = set(_words(log[key].to_pylist()))
    return table.take(np.flatnonzero([word in known for word in _words(table[key].to_pylist())]))


def _words(values: Sequence[Any]) -> list[str]:
    return ["" if value is None else str(value).strip() for value in values]
