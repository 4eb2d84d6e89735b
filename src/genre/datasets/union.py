"""Several logs as one."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import StringConstraints, WithJsonSchema

from genre.component import Slot, component
from genre.datasets import Reader, Reading
from genre.errors import DataError
from genre.rows import stacked

if TYPE_CHECKING:
    import pyarrow as pa

Name = Annotated[str, StringConstraints(pattern=r"^\w+$")]
NAMED = {"type": "object", "properties": {"type": {"type": "string"}}, "required": ["type"]}
One = Annotated[Reader, Slot("datasets"), WithJsonSchema({"anyOf": [{"type": "string"}, NAMED]})]
"""Any reader. Its JSON schema says no more than that, as it would have to contain itself."""
COLUMN = "dataset"
IDS = ("user_id", "item_id", "impression_id")


@component
class Union:
    """Several logs in one run, for a model that learns the tasks of all of them at once.

    Ids get the name of their log in front (``games:42``), so that equal ids of two logs stay two people or two items.
    A column that a log lacks is missing in its rows, and a head whose label it is learns from the other rows. The
    column ``dataset`` of interactions and items says where a row is from; ``train.temperature`` evens out logs of
    unequal size by it. For one log take its own reader.
    """

    readers: dict[Name, One] = field(default_factory=dict)
    """The logs, by the names that their ids get: ``{clothing: reviews, games: {type: table, interactions: g.csv}}``."""

    def files(self) -> list[Path]:
        if len(self.readers) < 2:
            raise DataError(
                "data.reader.readers: a union needs two logs or more, as in {clothing: reviews, games: ...}"
            )
        return [path for reader in self.readers.values() for path in reader.files()]

    def read(self) -> Reading:
        self.files()
        found = {name: reader.read() for name, reader in self.readers.items()}
        return Reading(
            _united(_marked(name, one.interactions) for name, one in found.items()),
            _united(_marked(name, _items(one)) for name, one in found.items()),
            _united(_named(name, one.users) for name, one in found.items() if one.users is not None),
            [row for one in found.values() for row in one.rejected],
            "+".join(found),
            "; ".join(f"{name}: {one.source}" for name, one in found.items() if one.source),
            "; ".join(f"{name}: {one.licence}" for name, one in found.items() if one.licence),
        )


def _items(reading: Reading) -> pa.Table:
    """The table of items; of a log without one, the ids that it mentions, as no item of a union may lack a row."""
    if reading.items is not None:
        return reading.items
    import pyarrow as pa

    ids = _words(reading.interactions["item_id"]).unique()
    return pa.table({"item_id": ids.filter(ids.is_valid())})


def _marked(name: str, table: pa.Table) -> pa.Table:
    """The table with the name of its log in its ids and in a column of its own."""
    import pyarrow as pa

    if COLUMN in table.column_names:
        raise DataError(
            f"data.reader.readers.{name}: has a column '{COLUMN}' of its own, which a union fills; rename it there"
        )
    return _named(name, table).append_column(COLUMN, [pa.repeat(pa.scalar(name), table.num_rows)])


def _named(name: str, table: pa.Table) -> pa.Table:
    """The table with the name of its log in front of its ids; a missing id stays missing."""
    import pyarrow.compute as pc

    for at, column in enumerate(table.column_names):
        if column in IDS:
            ids = pc.binary_join_element_wise(f"{name}:", _words(table[column]), "")  # pyright: ignore[reportAttributeAccessIssue]
            table = table.set_column(at, column, ids)
    return table


def _words(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Ids as trimmed words; empty ones are missing."""
    import pyarrow as pa
    import pyarrow.compute as pc

    words = pc.utf8_trim_whitespace(column.cast(pa.string()))  # pyright: ignore[reportAttributeAccessIssue]
    return pc.if_else(pc.equal(words, ""), None, words)  # pyright: ignore[reportAttributeAccessIssue]


def _united(tables: Iterable[pa.Table]) -> pa.Table | None:
    known = list(tables)
    return stacked(known) if known else None
