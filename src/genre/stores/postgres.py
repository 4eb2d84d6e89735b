"""A server that several machines share."""

from __future__ import annotations

import os
from collections.abc import Hashable
from dataclasses import field
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import PositiveInt

from genre.component import component
from genre.errors import GenreError
from genre.stores import as_json

if TYPE_CHECKING:
    from sqlalchemy import URL, Engine


@component
class Postgres:
    """PostgreSQL, for several servers and workers on one or more machines. For one machine `sqlite` needs no server.

    Through psycopg 3; https://www.postgresql.org and https://www.psycopg.org/psycopg3/
    """

    url: str = field(default="postgresql://localhost/genre", repr=False)
    """Where it is: ``postgresql://user@host:port/database``. Better without the password, as files are passed on."""
    password_env: str = "GENRE_STORE_PASSWORD"
    """Environment variable with the password; what it holds goes before one in the URL, and is never printed."""
    connections: PositiveInt = 16
    """Most connections of one process; larger lets more requests read at once and takes memory of the server."""
    timeout_ms: PositiveInt = 5000
    """Longest wait for a connection or for another's lock, in milliseconds; larger gives up later."""

    def engine(self, home: Path, create: bool = False) -> Engine:
        """Connections to the database, which must be there; its tables need not be."""
        from sqlalchemy import create_engine

        seconds = max(1, self.timeout_ms // 1000)
        return create_engine(
            self._url(),
            connect_args={
                "connect_timeout": seconds,
                "options": f"-c lock_timeout={self.timeout_ms} -c timezone=UTC -c client_encoding=UTF8",
            },
            pool_size=self.connections,
            max_overflow=0,
            pool_timeout=seconds,
            pool_pre_ping=True,
            json_serializer=as_json,
        )

    def address(self, home: Path) -> str:
        url = self._url().set(password=None)
        hidden = {name: value for name, value in url.query.items() if name not in ("password", "passfile")}
        return url.set(drivername="postgresql", query=hidden).render_as_string()

    def identity(self, home: Path) -> Hashable | None:
        return self.url

    def _url(self) -> URL:
        from sqlalchemy.engine import make_url
        from sqlalchemy.exc import ArgumentError

        try:
            url = make_url(self.url)
        except (ArgumentError, ValueError):
            raise GenreError("stores.postgres: url is not as in postgresql://user@host:5432/database") from None
        if url.drivername.partition("+")[0] not in ("postgres", "postgresql"):
            raise GenreError(f"stores.postgres: url begins with {url.drivername}://, not postgresql://")
        if not url.database:
            raise GenreError("stores.postgres: url names no database, as in postgresql://user@host:5432/database")
        password = os.environ.get(self.password_env) or url.password
        return url.set(drivername="postgresql+psycopg", password=password)
