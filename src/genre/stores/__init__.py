"""Databases: where the service keeps events, items, users, slates, jobs and its audit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Hashable

    from sqlalchemy import Engine


class Database(Protocol):
    """One kind of database, reached through SQLAlchemy.

    A transaction of a connection that was given the execution option ``writes`` may write at once, without being turned
    away half-way because another one wrote in between.
    """

    def engine(self, home: Path, create: bool = False) -> Engine:
        """Connections to it; a relative path is one below ``home``. Where nothing is, it is made only if ``create``."""
        ...

    def address(self, home: Path) -> str:
        """Where it is, for messages; never a password."""
        ...

    def identity(self, home: Path) -> Hashable | None:
        """What tells the very data from others that come to lie at the same address; None while nothing is there."""
        ...


def of_address(address: str) -> dict[str, Any]:
    """The settings of the component that an address means: a URL of PostgreSQL, else the path of an SQLite file."""
    if address.startswith(("postgres://", "postgresql://", "postgresql+psycopg://")):
        return {"type": "postgres", "url": address}
    return {"type": "sqlite", "path": address.removeprefix("sqlite:///")}


def as_json(value: Any) -> str:
    """How columns of JSON are written: letters as they are, so that they can be searched, and numbers all finite."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
