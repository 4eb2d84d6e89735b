"""What is derived from the events and can be made from them again at any time."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Select, Table, delete, func, select

import genre.store.tables as t

DERIVED: tuple[tuple[Table, tuple[str, ...]], ...] = (
    (t.item_counts, ("item_id", "action")),
    (t.user_counts, ("user_id",)),
)
"""Each derived table, and the columns of the events that it counts by."""


def counted(keys: tuple[str, ...]) -> Select[Any]:
    """The rows that a derived table must have."""
    e = t.events.c
    by = [e[key] for key in keys]
    # An erased user has no count, but what was done with the item did happen.
    there = [column.is_not(None) for column in by]
    return select(*by, func.count(), func.max(e.time)).where(e.withdrawn.is_(None), *there).group_by(*by)


def recount(connection: Connection, item_id: str | None = None, user_id: str | None = None) -> None:
    """Count the events of an item and of a user again; with neither, all of them."""
    whole = item_id is None and user_id is None
    for table, keys in DERIVED:
        only = item_id if keys[0] == "item_id" else user_id
        if only is None and not whole:
            continue
        old, new = delete(table), counted(keys)
        if only is not None:
            old, new = old.where(table.c[keys[0]] == only), new.where(t.events.c[keys[0]] == only)
        connection.execute(old)
        connection.execute(table.insert().from_select([*keys, "n", "latest"], new))
