"""One row a user: their items in time order."""

from __future__ import annotations

from dataclasses import field
from pathlib import Path
from typing import Any

from genre.component import component
from genre.datasets import Reading
from genre.errors import DataError
from genre.places import located
from genre.rows import Rejected, delimited, need


@component
class Sequences:
    """A tab-separated file with a user and their items in time order, as sequential benchmarks are published.

    There are no times, so order is all that is known. For a log with a row an event use `table`. Files that are not
    in the working directory are looked for where ``genre data get`` puts data sets, then below ``GENRE_DATA``, else
    below ``../shared/data``.
    """

    path: Path = Path("sequences.tsv")
    """The file: a header line, then ``user_id<TAB>item item item``; may be gzipped."""
    items: Path | None = None
    """Tab-separated table of the items with a header line; may be gzipped. None given means ids alone."""
    item_columns: dict[str, str] = field(default_factory=dict)
    """Our name: its name, for columns of the items table that are called otherwise (``title: text_id``)."""
    action: str = "interact"
    """What the events are called."""
    licence: str = ""
    """Terms under which the data may be used; printed in the report."""

    def files(self) -> list[Path]:
        paths = [located(self.path, "data.reader.path")]
        return paths + ([located(self.items, "data.reader.items")] if self.items else [])

    def read(self) -> Reading:
        import pyarrow as pa

        path, *beside = self.files()
        rejected: Rejected = []
        rows = delimited(path, "\t", None, rejected)
        names = [name for name in rows if name not in ("file", "line")]
        if len(names) != 2:
            raise DataError(f"{path}: expected two tab-separated columns, a user and their items; found {names}")
        events: dict[str, list[Any]] = {"user_id": [], "item_id": [], "line": []}
        for user, sequence, line in zip(rows[names[0]], rows[names[1]], rows["line"], strict=True):
            items = sequence.split()
            if not items:
                row = {"file": str(path), "line": line, "reason": "a user without items", "row": user}
                rejected.append(row)
            events["user_id"] += [user] * len(items)
            events["item_id"] += items
            events["line"] += [line] * len(items)
        n = len(events["line"])
        table = pa.table({**events, "file": [str(path)] * n, "action": [self.action] * n})
        side = self._items(beside[0], rejected) if beside else None
        return Reading(table, side, None, rejected, path.name.split(".")[0], str(path), self.licence)

    def _items(self, path: Path, rejected: Rejected) -> Any:
        import pyarrow as pa

        columns = delimited(path, "\t", None, rejected)
        need(columns, self.item_columns.values(), path, "check data.reader.item_columns")
        theirs = {their: our for our, their in self.item_columns.items()}
        mapping = self.item_columns
        named = {theirs.get(n, n): column for n, column in columns.items() if n in theirs or n not in mapping}
        need(named, ["item_id"], path, "set data.reader.item_columns: {item_id: <its name there>}")
        return pa.table(named)
