"""Items and users: what is known of them, by id."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import Future
from functools import partial
from typing import Any

from sqlalchemy import Connection, Row, Table, case, func, or_, select, update

from genre.store.access import Access, found, insert, next_changes, usable
from genre.store.checking import checked_columns
from genre.store.faults import BadCursor, Conflict, NotFound
from genre.store.records import Entry, Page, Receipt, Rejected


class Catalogue:
    """Items, or users. One that is deleted leaves its id and the number of that change, so that servers hear of it."""

    def __init__(self, access: Access, table: Table) -> None:
        self._access, self._table = access, table
        # One function for all submissions, as the writer joins those that are equal.
        self._apply = partial(_put, table, access.clock)

    @property
    def _word(self) -> str:
        return self._table.name.removesuffix("s")

    def submit(self, entries: list[Entry]) -> Future[list[Receipt]]:
        """Hand in entries, to be created or to replace those of the same id."""
        return self._access.submit(self._apply, entries, max(1, len(entries)))

    def put(self, entries: list[Entry]) -> list[Receipt]:
        """The same, waiting for it."""
        return self.submit(entries).result()

    def patch(self, id: str, columns: dict[str, Any]) -> Entry:
        """Set some columns and keep the others; one that is set to None goes. Raises `NotFound`."""

        def work(connection: Connection) -> Entry:
            row = connection.execute(
                select(self._table).where(self._table.c.id == id, ~self._table.c.deleted)
            ).one_or_none()
            if row is None:
                raise NotFound(f"there is no {self._word} '{id}'")
            merged = {**row.columns, **columns}
            merged = checked_columns({name: value for name, value in merged.items() if value is not None})
            if isinstance(merged, Rejected):
                raise Conflict(f"{self._word} '{id}': {merged.reason}")
            return self._set(connection, id, columns=merged)

        if not usable([id]):
            raise NotFound(f"there is no such {self._word}")
        return self._access.write(work)

    def get(self, ids: Iterable[str]) -> dict[str, Entry]:
        """Those of some ids that are there."""
        with self._access.reading() as connection:
            rows = found(connection, self._table, "id", usable(ids))
        return {row.id: _entry(row) for row in rows if not row.deleted}

    def list(self, cursor: str | None = None, limit: int = 100, search: str | None = None) -> Page[Entry]:
        """In order of their ids as text; ``search`` keeps those whose id or title has it in it."""
        c = self._table.c
        statement = select(self._table).where(~c.deleted)
        if cursor is not None:
            if not usable([cursor]):
                raise BadCursor("cursor: not one that this list has given")
            statement = statement.where(c.id > cursor)
        if search:
            if not usable([search.strip()]):
                return Page([], None)
            title = c.columns["title"].as_string()
            statement = statement.where(
                or_(c.id.icontains(search, autoescape=True), title.icontains(search, autoescape=True))
            )
        with self._access.reading() as connection:
            rows = [_entry(row) for row in connection.execute(statement.order_by(c.id).limit(limit + 1))]
        return Page(rows[:limit], rows[limit - 1].id if len(rows) > limit else None)

    def delete(self, id: str) -> bool:
        """Forget what is known of it; its events stay. False if it was not there."""

        def work(connection: Connection) -> bool:
            asked = select(self._table.c.id).where(self._table.c.id == id, ~self._table.c.deleted)
            if connection.execute(asked).one_or_none() is None:
                return False
            self._set(connection, id, columns={}, deleted=True)
            return True

        return bool(usable([id])) and self._access.write(work)

    def changes(self, since: int, limit: int = 1000) -> list[Entry]:
        """What was created, replaced, patched or deleted after change ``since``, in order of the changes."""
        c = self._table.c
        statement = select(self._table).where(c.change > since).order_by(c.change).limit(limit)
        with self._access.reading() as connection:
            return [_entry(row) for row in connection.execute(statement)]

    def count(self) -> int:
        """How many there are."""
        with self._access.reading() as connection:
            there = select(func.count()).select_from(self._table).where(~self._table.c.deleted)
            return int(connection.execute(there).scalar_one())

    def _set(self, connection: Connection, id: str, **values: Any) -> Entry:
        values |= {"updated": self._access.clock(), "change": next_changes(connection)}
        changed = update(self._table).where(self._table.c.id == id).values(**values).returning(*self._table.c)
        return _entry(connection.execute(changed).one())


def _entry(row: Row[Any]) -> Entry:
    return Entry(**row._mapping)


def _put(table: Table, clock: Any, connection: Connection, batches: list[list[Entry]]) -> list[list[Receipt]]:
    """Write the entries of several callers; of those with one id the last one stays."""
    now = clock()
    entries = [entry for batch in batches for entry in batch]
    if not entries:
        return [[] for _ in batches]
    first = next_changes(connection, len(entries))
    rows = found(connection, table, "id", (entry.id for entry in entries), "id", "deleted")
    there = {row.id for row in rows if not row.deleted}
    receipts: list[Receipt] = []
    for entry in entries:
        receipts.append(Receipt(entry.id, "replaced" if entry.id in there else "created"))
        there.add(entry.id)
    made = insert(connection, table)
    kept = {name: made.excluded[name] for name in ("columns", "updated", "change", "deleted")}
    kept["created"] = _created(table, made)
    connection.execute(
        made.on_conflict_do_update(index_elements=["id"], set_=kept),
        [
            {"id": e.id, "columns": e.columns, "created": now, "updated": now, "change": first + i, "deleted": False}
            for i, e in enumerate(entries)
        ],
    )
    done = iter(receipts)
    return [[next(done) for _ in batch] for batch in batches]


def _created(table: Table, made: Any) -> Any:
    """When it was created: stays if it is replaced, and is new if it had been deleted."""
    return case((table.c.deleted, made.excluded.created), else_=table.c.created)
