"""What the parts of the store share: reading, writing, and the few statements that databases say differently."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, Table, select, update
from sqlalchemy.dialects import postgresql, sqlite

import genre.store.tables as t
from genre.store.checking import id_problem
from genre.store.faults import BadCursor, explained
from genre.store.writer import Apply, Writer

T = TypeVar("T")
P = TypeVar("P")
CHUNK = 500
"""Most values that one statement compares with; SQLite takes 32,766, and shorter statements are planned faster."""
LARGEST = 2**62


@dataclass(frozen=True)
class Access:
    """A store's database as its parts use it."""

    engine: Engine
    writer: Writer
    address: str
    clock: Callable[[], float]
    """UTC seconds."""

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A connection that sees one moment of the store, and every commit before it."""
        with explained(self.address), self.engine.connect() as connection:
            yield connection

    def write(self, work: Callable[[Connection], T]) -> T:
        """Do ``work`` in a transaction and wait until it is durable."""
        return self.writer.run(work)

    def submit(self, apply: Apply[P, T], payload: P, rows: int) -> Future[T]:
        """Hand in work that is applied together with the like of it; the future resolves once it is durable."""
        return self.writer.submit(apply, payload, rows)


def insert(connection: Connection, table: Table) -> Any:
    """An INSERT of the connection's own dialect, which knows what to do on a conflict."""
    return (postgresql if connection.dialect.name == "postgresql" else sqlite).insert(table)


def next_changes(connection: Connection, n: int = 1) -> int:
    """The first of ``n`` new numbers of changes, which belong to this transaction alone."""
    counter = t.counters
    taken = update(counter).where(counter.c.name == "changes").values(n=counter.c.n + n).returning(counter.c.n)
    return int(connection.execute(taken).scalar_one()) - n + 1


def found(connection: Connection, table: Table, column: str, values: Iterable[str], *columns: str) -> list[Any]:
    """Rows whose ``column`` is one of ``values``, asked for some at a time."""
    asked = list(dict.fromkeys(values))
    wanted = [table.c[name] for name in columns] if columns else list(table.c)
    statement = select(*wanted)
    rows: list[Any] = []
    for start in range(0, len(asked), CHUNK):
        rows += connection.execute(statement.where(table.c[column].in_(asked[start : start + CHUNK]))).all()
    return rows


def usable(ids: Iterable[str]) -> list[str]:
    """Those that can be the id of anything; others would trouble the database, and nothing is called so."""
    return [one for one in ids if id_problem(one) is None]


def number_of(cursor: str | None) -> int | None:
    """The number in the cursor of a list that is ordered by one. Raises `BadCursor`."""
    if cursor is None:
        return None
    if not (cursor.isascii() and cursor.isdigit()) or len(cursor) > 18:
        raise BadCursor("cursor: not one that this list has given")
    return int(cursor)
