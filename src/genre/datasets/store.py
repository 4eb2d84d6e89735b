"""What the service took in, beside the log that its model was made from."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from genre.component import Slot, component
from genre.data import Dataset
from genre.datasets import Reading
from genre.errors import DataError, GenreError
from genre.files import cache_folder, write_json
from genre.rows import Rejected, stacked
from genre.sections import slot
from genre.stores import Database

if TYPE_CHECKING:
    import pyarrow as pa

    from genre.store import Store as Opened


@component
class Store:
    """The events, items and users of the service, so that the next model learns from what people did with the last.

    An item that events name and nobody described joins the catalogue without a title. With `run`, the log of that run
    comes first, without the rows that the store holds already or whose user was erased; of an item or user that both
    know the store's columns count. For a log in files take `table`.
    """

    store: Annotated[Database, Slot("stores")] = slot("stores", "sqlite")
    """The store; the relative path of an SQLite file is one in `run`, or without one in the working directory."""
    run: Path | None = None
    """A run whose prepared log goes before the events: that of the model being served. None takes the store alone."""
    skips: bool = False
    """Whether what a slate showed and nobody touched becomes a row of the action `skip`, if anything of the slate was
    touched. Heads can learn from them; they mislead where people seldom look beyond the first places."""

    def files(self) -> list[Path]:
        """A file that says how far the store has come, and so changes when the store does, and the tables of `run`."""
        with self._opened() as store:
            mark = {"store": store.name(), "events": store.events.last_seq(), "changes": store.version()}
        path = cache_folder() / "stores" / f"{mark['store']}.json"
        if not path.exists() or json.loads(path.read_text(encoding="utf-8")) != mark:
            write_json(path, mark)
        if self.run is None:
            return [path]
        tables = [self.run / "data" / f"{name}.parquet" for name in ("interactions", "items", "users")]
        if missing := [table for table in tables if not table.exists()]:
            raise DataError(f"data.reader.run: there is no {missing[0]}; name a run that was prepared")
        return [path, *tables]

    def read(self) -> Reading:
        """The log of `run`, then the events in the order in which they came."""
        self.files()
        from genre.store import exporting

        rejected: Rejected = []
        data = None if self.run is None else Dataset.load(self.run / "data")
        with self._opened() as store:
            log = exporting.interactions(store.access, rejected, self.skips)
            items = exporting.catalogue(store.items, "item_id")
            users = exporting.catalogue(store.users, "user_id")
            if data is not None:
                log = stacked([_earlier(data, store, rejected), log])
                items, users = _over(data.items, items, "item_id"), _over(data.users, users, "user_id")
                erased = exporting.is_erased(store.access)
                users = users.filter([not erased(user) for user in users["user_id"].to_pylist()])
            facts = {} if data is None else data.manifest
            name, licence = str(facts.get("name") or "store"), str(facts.get("licence") or "")
            return Reading(log, _complete(items, log), users, rejected, name, store.address, licence)

    @contextmanager
    def _opened(self) -> Iterator[Opened]:
        from genre.store import open_store

        try:
            store = open_store(self.store, self.run or Path(), create=False)
        except GenreError as error:
            raise DataError(f"data.reader.store: {error}") from error
        with store:
            yield store


def _earlier(data: Dataset, store: Opened, rejected: Rejected) -> pa.Table:
    """The rows of a prepared log that the store does not hold itself, without those of users who were erased."""
    import pyarrow as pa

    from genre.store.exporting import is_erased
    from genre.store.importing import event_ids

    table, known = data.interactions, store.events.known(event_ids(data.interactions))
    erased = is_erased(store.access)
    gone = [erased(user) for user in table["user_id"].to_pylist()]
    lines = list(range(1, table.num_rows + 1))
    place = {"file": "interactions.parquet", "reason": "its user was erased", "row": ""}
    rejected += [{**place, "line": line} for line, out in zip(lines, gone, strict=True) if out]
    table = table.drop_columns(["part"])
    table = table.append_column("file", [pa.repeat("interactions.parquet", table.num_rows)])
    table = table.append_column("line", [lines])
    return table.filter([not one and not out for one, out in zip(known, gone, strict=True)])


def _over(earlier: pa.Table, later: pa.Table | None, key: str) -> pa.Table:
    """Rows of both, where both have one the later, column by column."""
    if later is None:
        return earlier
    import numpy as np
    import pyarrow.compute as pc

    known = pc.is_in(earlier[key], value_set=later[key].combine_chunks())  # pyright: ignore[reportAttributeAccessIssue]
    return stacked([earlier.filter(~np.asarray(known)), later])


def _complete(items: pa.Table | None, log: pa.Table) -> pa.Table:
    """The items, and a row for each that the log names and nobody described, as no event may be lost for that."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    named = pc.unique(log["item_id"])  # pyright: ignore[reportAttributeAccessIssue]
    if items is None:
        return pa.table({"item_id": named})
    known = pc.is_in(named, value_set=items["item_id"].combine_chunks())  # pyright: ignore[reportAttributeAccessIssue]
    return stacked([items, pa.table({"item_id": named.filter(~np.asarray(known))})])
