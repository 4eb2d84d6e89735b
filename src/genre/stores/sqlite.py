"""A file of this machine."""

from __future__ import annotations

import sqlite3
from collections.abc import Hashable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import NonNegativeInt

from genre.component import component
from genre.errors import GenreError
from genre.stores import as_json

if TYPE_CHECKING:
    from sqlalchemy import Engine


@component
class Sqlite:
    """One file, without a server: for one machine, whose processes may share it. For several machines take `postgres`.

    Readers never wait for the writer (write-ahead log), and one process writes at a time. The file must lie on a disk
    of this machine: over a network its locks do not hold. https://sqlite.org/wal.html
    """

    path: Path = Path("store.db")
    """The file; a relative path lies in the run folder that is served."""
    durability: Literal["full", "normal"] = "full"
    """When an event counts as kept: on disk (full), or handed to the operating system (normal), which survives a kill
    of the process but may lose the last moments at a power cut, and is many times faster for single events."""
    busy_ms: NonNegativeInt = 5000
    """Longest wait for another process that writes, in milliseconds; larger gives up later."""

    def engine(self, home: Path, create: bool = False) -> Engine:
        """Connections to the file, which is made only if ``create``: a store that went away never comes back empty."""
        from sqlalchemy import QueuePool, create_engine, event, exc

        path = home / self.path
        if create:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch(mode=0o600)
        elif not path.exists():
            raise GenreError(f"{path}: no store here; make one with 'genre store init', or correct the path")
        # The mode says that a connection made later may not put a new file in the place of a lost one.
        uri = f"{path.absolute().as_uri()}?mode=rw"

        def connect() -> sqlite3.Connection:
            return sqlite3.connect(uri, uri=True, timeout=self.busy_ms / 1000, check_same_thread=False)

        engine = create_engine(
            "sqlite://", creator=connect, poolclass=QueuePool, pool_size=8, max_overflow=64, json_serializer=as_json
        )

        def prepare(connection: Any, record: Any) -> None:
            connection.isolation_level = None  # transactions begin where `begin` says, not where the driver guesses
            record.info["identity"] = self.identity(home)
            for pragma in (
                f"busy_timeout={self.busy_ms}",
                "journal_mode=WAL",
                f"synchronous={self.durability.upper()}",
                "foreign_keys=ON",
                "secure_delete=ON",  # what is erased on request is overwritten, not only unlinked
            ):
                connection.execute(f"PRAGMA {pragma}").close()

        def same_file(connection: Any, record: Any, proxy: Any) -> None:
            if record.info["identity"] != self.identity(home):
                raise exc.DisconnectionError("the file is another one by now")

        def begin(connection: Any) -> None:
            writes = connection.get_execution_options().get("writes")
            connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

        event.listen(engine, "connect", prepare)
        event.listen(engine, "checkout", same_file)
        event.listen(engine, "begin", begin)
        return engine

    def address(self, home: Path) -> str:
        return str(home / self.path)

    def identity(self, home: Path) -> Hashable | None:
        try:
            found = (home / self.path).stat()
        except OSError:
            return None
        return found.st_dev, found.st_ino
