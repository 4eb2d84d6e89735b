"""What can go wrong with the store, in words that say what to do."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

from sqlalchemy import exc

from genre.errors import GenreError

Cause = Literal["full", "locked", "gone", "damaged", "version", "lost", "refused"]


class StoreError(GenreError):
    """The store could not do it; nothing of it was kept, unless ``cause`` is ``lost``, where that is not known."""

    def __init__(self, text: str, cause: Cause) -> None:
        super().__init__(text)
        self.cause: Cause = cause


class Overloaded(GenreError):
    """More is waiting to be written than there is room for; come again in ``retry_after`` seconds."""

    def __init__(self, text: str, retry_after: float) -> None:
        super().__init__(text)
        self.retry_after = retry_after


class NotFound(GenreError):
    """There is no such item, user, slate, key, experiment or job."""


class Conflict(GenreError):
    """It is there already, or in a state in which this cannot be done."""


class LeaseLost(GenreError):
    """The job is another worker's by now, or was cancelled: stop, and report nothing on it."""


class BadCursor(GenreError):
    """A cursor that no list of the store has given."""


SAID: dict[Cause, str] = {
    "full": "the disk is full: free some space; the store goes on by itself",
    "locked": "another process has kept it locked for too long; try again, and stop that process if it hangs",
    "gone": "the store is gone: bring it back to its place ('genre store restore' takes a backup)",
    "damaged": "the store is damaged: 'genre store restore' puts a backup in its place",
    "version": "its tables are not those of this version: 'genre store migrate' brings older ones up to date",
    "lost": "the database went away or cannot be reached; what was being written may or may not be kept, send it again",
    "refused": "the database refused it",
}
SQLITE: dict[str, Cause] = {
    "SQLITE_FULL": "full",
    "SQLITE_BUSY": "locked",
    "SQLITE_LOCKED": "locked",
    "SQLITE_PROTOCOL": "locked",
    "SQLITE_CANTOPEN": "gone",
    "SQLITE_READONLY_DBMOVED": "gone",
    "SQLITE_IOERR": "lost",
    "SQLITE_CORRUPT": "damaged",
    "SQLITE_NOTADB": "damaged",
}
POSTGRES: dict[str, Cause] = {
    "53100": "full",
    "55P03": "locked",
    "57014": "locked",
    "40P01": "locked",
    "40001": "locked",
    "3D000": "gone",
    "XX001": "damaged",
    "XX002": "damaged",
    "08": "lost",
    "57": "lost",
    "53": "lost",
}
"""Of SQLSTATE, whole or its class. https://www.postgresql.org/docs/current/errcodes-appendix.html"""


DATABASE = (exc.SQLAlchemyError, sqlite3.Error, UnicodeError, OverflowError)
"""Errors of databases, and of handing them what they cannot keep."""


def cause_of(error: BaseException) -> Cause:
    """What lies behind an error of the database."""
    found: Any = getattr(error, "orig", None) or error
    if "no such table" in str(found) or getattr(found, "sqlstate", None) == "42P01":
        return "version"
    if name := getattr(found, "sqlite_errorname", None):
        parts = name.split("_")
        for end in range(len(parts), 1, -1):
            if (cause := SQLITE.get("_".join(parts[:end]))) is not None:
                return cause
        return "refused"
    if isinstance(error, exc.DBAPIError) and error.connection_invalidated:
        return "lost"
    state = getattr(found, "sqlstate", None)
    if state:
        return POSTGRES.get(state) or POSTGRES.get(state[:2]) or "refused"
    return "lost" if isinstance(error, (exc.OperationalError, exc.InterfaceError)) else "refused"


def told(error: BaseException, address: str) -> GenreError:
    """The error that a user is told of. The database's own words are cut short, as they repeat what was written."""
    if isinstance(error, GenreError):
        return error
    if isinstance(error, exc.TimeoutError):
        return Overloaded(f"{address}: all connections are in use; try again", 1.0)
    cause = cause_of(error)
    found = getattr(error, "orig", None) or error
    first = (str(found).splitlines() or [""])[0]
    return StoreError(f"{address}: {SAID[cause]} ({type(found).__name__}: {first[:200]})", cause)


@contextmanager
def explained(address: str) -> Iterator[None]:
    """Errors of the database as ones that say what to do."""
    try:
        yield
    except DATABASE as error:
        raise told(error, address) from error
