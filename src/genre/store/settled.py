"""What servers of one store agree on beside the data: which model answers, whether a policy may choose."""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy import Connection, select

import genre.store.tables as t
from genre.store.access import Access, insert, next_changes

PREFIX = "settled:"
"""Of their names in the table ``meta``, which holds facts of the store itself too."""


class Settled:
    """Values by name; each is replaced whole, and a change of one is a change of the store (`Store.version`)."""

    def __init__(self, access: Access) -> None:
        self._access = access

    def all(self) -> dict[str, dict[str, Any]]:
        """Every value by its name."""
        c = t.meta.c
        asked = select(c.name, c.value).where(c.name.startswith(PREFIX, autoescape=True))
        with self._access.reading() as connection:
            return {name.removeprefix(PREFIX): json.loads(value) for name, value in connection.execute(asked)}

    def put(self, name: str, value: dict[str, Any]) -> None:
        """Settle it, in place of what was settled before."""

        def work(connection: Connection) -> None:
            next_changes(connection)
            made = insert(connection, t.meta).values(name=PREFIX + name, value=json.dumps(value))
            connection.execute(made.on_conflict_do_update(index_elements=["name"], set_={"value": made.excluded.value}))

        self._access.write(work)
