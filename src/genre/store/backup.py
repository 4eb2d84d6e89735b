"""Backups. Every backup is an SQLite store, wherever it comes from, and can be restored into any database."""

from __future__ import annotations

import os
import shutil
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, NullPool, create_engine, delete, func, insert, select, text

import genre.store.tables as t
from genre.errors import GenreError
from genre.files import replacing
from genre.store.access import Access
from genre.store.faults import StoreError, cause_of, explained
from genre.store.migrate import prepare
from genre.store.replay import differences
from genre.store.writer import alone
from genre.stores import Database, as_json

ROWS = 2_000
"""Rows that are copied at a time."""
BESIDE = ("-wal", "-shm", "-journal")
"""Files that SQLite keeps beside its own while it is open."""
Told = Callable[[int], object]


@dataclass(frozen=True)
class Facts:
    """What a store or a backup holds."""

    store: str
    """Which store it is of; a restored one is the same."""
    version: int
    last_seq: int
    rows: dict[str, int]
    """By table."""


def facts_of(connection: Connection) -> Facts:
    """What a store holds, as of the moment of a connection's transaction."""
    meta = {row.name: row.value for row in connection.execute(select(t.meta))}
    rows = {
        table.name: int(connection.execute(select(func.count()).select_from(table)).scalar_one())
        for table in t.metadata.sorted_tables
    }
    last = int(connection.execute(select(func.max(t.events.c.seq))).scalar() or 0)
    return Facts(meta["store"], int(meta["version"]), last, rows)


def backup(access: Access, path: Path, told: Told = lambda rows: None) -> Facts:
    """Write all that is durable at this moment to ``path``, while others go on reading and writing; then check it."""
    if path.exists():
        raise GenreError(f"{path}: is there already; a backup replaces nothing")
    with replacing(path) as aside:
        try:
            if access.engine.dialect.name == "sqlite":
                _copy_file(access, aside)
            else:
                _copy_out(access, aside, told)
            aside.chmod(0o600)  # it holds what people did
            return verify(aside)
        finally:
            for rest in BESIDE:
                aside.with_name(aside.name + rest).unlink(missing_ok=True)


def verify(path: Path) -> Facts:
    """Check every page and index of a backup, and that what is derived fits the events. Raises `StoreError`."""
    if not path.is_file():
        raise GenreError(f"{path}: no such file")
    log = path.with_name(f"{path.name}-wal")
    if log.exists() and log.stat().st_size:
        raise GenreError(f"{path}: in use, not a backup; make one with 'genre store backup'")
    engine = _file(path, "?mode=ro&immutable=1")
    try:
        with explained(str(path)), engine.connect() as connection:
            said = str(connection.execute(text("PRAGMA integrity_check(1)")).scalar_one())
            if said != "ok":
                raise StoreError(f"{path}: damaged ({said[:200]}); use another backup", "damaged")
        prepare(engine, str(path), 0.0, create=False)
        with explained(str(path)), engine.connect() as connection:
            wrong = {name: n for name, n in differences(connection).items() if n}
            if wrong:
                why = f"its counts are not what its events say ({wrong})"
                raise StoreError(f"{path}: {why}; run 'genre store replay' and back up again", "damaged")
            return facts_of(connection)
    finally:
        engine.dispose()


def restore(database: Database, home: Path, path: Path, force: bool = False, told: Told = lambda rows: None) -> Facts:
    """Put a backup in the place of the store.

    A store that holds anything is replaced only by ``force``. A file must not be open anywhere, and is kept beside the
    new one as ``.replaced-...``; on PostgreSQL it is one transaction.
    """
    facts, address = verify(path), database.address(home)
    engine = database.engine(home, create=True)
    try:
        with explained(address):
            if engine.dialect.name == "sqlite":
                _put_file(path, Path(address), force)
            else:
                prepare(engine, address, time.time(), create=True)
                _copy_in(path, engine, address, force, told)
            with engine.connect() as connection:
                now = facts_of(connection)
    finally:
        engine.dispose()
    if now != facts:
        raise StoreError(f"{address}: holds {now.rows} after restoring, the backup {facts.rows}", "damaged")
    return now


def _file(path: Path, mode: str) -> Engine:
    """An SQLite file by itself, as opposed to a store that is in use."""
    uri = path.absolute().as_uri() + mode
    return create_engine(
        "sqlite://", creator=lambda: sqlite3.connect(uri, uri=True), poolclass=NullPool, json_serializer=as_json
    )


def _copy_file(access: Access, to: Path) -> None:
    with explained(access.address), access.engine.connect() as connection:
        driver: Any = connection.connection.driver_connection
        # Reads one moment of the store without keeping the writer from its work, and leaves free pages behind.
        driver.execute("VACUUM INTO ?", (str(to),)).close()


def _copy_out(access: Access, to: Path, told: Told) -> None:
    """Copy every table, as of one moment, into an SQLite file."""
    engine = _file(to, "?mode=rwc")
    try:
        with (
            explained(access.address),
            access.engine.connect().execution_options(isolation_level="REPEATABLE READ") as source,
            engine.begin() as target,
        ):
            t.metadata.create_all(target)
            _copy(source, target, told)
    finally:
        engine.dispose()


def _copy_in(path: Path, engine: Engine, address: str, force: bool, told: Told) -> None:
    source_engine = _file(path, "?mode=ro&immutable=1")
    try:
        with (
            source_engine.connect() as source,
            engine.connect().execution_options(writes=True) as target,
            target.begin(),
        ):
            alone(target)
            _need_force(target, address, force)
            for table in reversed(t.metadata.sorted_tables):
                target.execute(delete(table))
            _copy(source, target, told)
            for table in t.metadata.sorted_tables:
                for column in table.primary_key:
                    if table.autoincrement_column is column:
                        highest = select(func.coalesce(func.max(column), 0) + 1).scalar_subquery()
                        sequence = func.pg_get_serial_sequence(table.name, column.name)
                        target.execute(select(func.setval(sequence, highest, False)))
    finally:
        source_engine.dispose()


def _copy(source: Connection, target: Connection, told: Told) -> None:
    for table in t.metadata.sorted_tables:
        found = source.execution_options(yield_per=ROWS).execute(select(table))
        for rows in found.mappings().partitions():
            target.execute(insert(table), [dict(row) for row in rows])
            told(len(rows))


def _need_force(connection: Connection, address: str, force: bool) -> None:
    """Raise unless nothing would be lost."""
    held = facts_of(connection).rows
    kept = {table.name: n for table in (t.events, t.items, t.users, t.slates) if (n := held[table.name])}
    if kept and not force:
        told = ", ".join(f"{n} {name}" for name, n in kept.items())
        raise GenreError(f"{address}: holds {told}, which a restore would replace; say --force if that is meant")


def _put_file(path: Path, to: Path, force: bool) -> None:
    """Put a copy of ``path`` in the place of the file ``to``, which is kept under another name if it holds anything."""
    held = to.stat().st_size > 0
    if held:
        _free(to, force)
    kept = to.with_name(f"{to.name}.replaced-{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}")
    with replacing(to) as aside:
        shutil.copyfile(path, aside)
        aside.chmod(0o600)
        if held:
            os.link(to, kept)
    for rest in BESIDE:
        # Those of a file that was damaged; after a sound one was closed there are none.
        to.with_name(to.name + rest).unlink(missing_ok=True)


def _free(path: Path, force: bool) -> None:
    """Raise unless a file may be replaced: nobody has it open, and it is empty, or damaged, or meant to go."""
    engine = _file(path, "?mode=rw")
    try:
        prepare(engine, str(path), 0.0, create=False)
        with engine.connect() as connection:
            _need_force(connection, str(path), force)
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True, timeout=0.5)) as alone_with_it:
            # Leaving the write-ahead log behind is possible for the only one that has the file open.
            alone_with_it.execute("PRAGMA journal_mode=DELETE").close()
    except (StoreError, sqlite3.Error) as error:
        cause = error.cause if isinstance(error, StoreError) else cause_of(error)
        if cause == "locked":
            raise StoreError(f"{path}: in use; stop the server and the workers first", "locked") from error
        if not force:
            raise GenreError(f"{path}: {error}; say --force to put the backup in its place all the same") from error
    finally:
        engine.dispose()
