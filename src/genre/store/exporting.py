"""The store's content as tables of a log."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

import genre.store.tables as t
from genre.data import INTERACTION_COLUMNS, SKIP
from genre.rows import Rejected, arrow
from genre.store.access import Access, found
from genre.store.erasing import mark_of, marks

if TYPE_CHECKING:
    import pyarrow as pa

    from genre.store.catalogue import Catalogue

ROWS = 10_000
"""Rows that are read at a time."""
MAIN = {*INTERACTION_COLUMNS, "file", "line", "part"} - {"propensity"}
"""What a fact of an event's context may not be called, as it would become what it is not."""
Columns = dict[str, list[Any]]
READ = ("user_id", "item_id", "action", "value", "time", "slate_id", "position", "context", "seq")


def interactions(access: Access, rejected: Rejected, skips: bool) -> pa.Table:
    """The events as interactions, in the order in which they came, ``line`` being their numbers.

    The facts of a context become columns. An event that names a slate has the propensity which the slate noted for its
    item. With ``skips`` rows of the action ``skip`` follow, for what was shown in a slate with an event and left alone.
    """
    e = t.events.c
    asked = select(*(e[name] for name in READ)).where(e.withdrawn.is_(None)).order_by(e.seq)
    read: Columns = {name: [] for name in READ}
    with access.reading() as connection:
        for rows in connection.execution_options(yield_per=ROWS).execute(asked).partitions():
            for name, column in zip(READ, zip(*rows, strict=True), strict=True):
                read[name] += column
        named = [one for one in dict.fromkeys(read["slate_id"]) if one is not None]
        slates = found(connection, t.slates, "slate_id", named)
    log = _log(read, access.address)
    _add_propensities(log, slates)
    if skips:
        _add_skips(log, slates)
    return _without_erased(log, rejected)


def catalogue(entries: Catalogue, key: str) -> pa.Table | None:
    """All items or users with their columns; None if there are none."""
    rows: list[dict[str, Any]] = []
    cursor: str | None = None
    while True:
        page = entries.list(cursor, ROWS)
        rows += [{key: entry.id} | entry.columns | {key: entry.id} for entry in page.rows]
        cursor = page.cursor
        if cursor is None:
            break
    names = dict.fromkeys(name for row in rows for name in row)
    return arrow({name: [row.get(name) for row in rows] for name in names}) if rows else None


def is_erased(access: Access) -> Callable[[Any], bool]:
    """Whether an id is that of a user who was erased."""
    gone = marks(access)
    return lambda user_id: bool(gone) and mark_of(str(user_id)) in gone


def _log(read: Columns, address: str) -> Columns:
    n = len(read["seq"])
    log: Columns = {name: read[name] for name in ("user_id", "item_id", "action", "value", "position")}
    log |= {"timestamp": [time or None for time in read["time"]], "impression_id": read["slate_id"]}
    log |= {"propensity": [None] * n, "file": [address] * n, "line": read["seq"]}
    for row, context in enumerate(read["context"]):
        for name, value in (context or {}).items():
            column = log.setdefault(f"context_{name}" if name in MAIN else name, [None] * n)
            column[row] = json.dumps(value, ensure_ascii=False) if isinstance(value, (dict, list)) else value
    return log


def _add_propensities(log: Columns, slates: list[Any]) -> None:
    noted = {
        (slate.slate_id, item.get("item_id")): item["propensity"]
        for slate in slates
        for item in slate.items
        if item.get("propensity") is not None
    }
    if noted:
        asked = zip(log["impression_id"], log["item_id"], log["propensity"], strict=True)
        log["propensity"] = [noted.get((slate, item), own) for slate, item, own in asked]


def _add_skips(log: Columns, slates: list[Any]) -> None:
    touched = set(zip(log["impression_id"], log["item_id"], strict=True))
    for slate in slates:
        for place, item in enumerate(slate.items):
            if slate.user_id is None or (slate.slate_id, item["item_id"]) in touched:
                continue
            row = {"user_id": slate.user_id, "item_id": item["item_id"], "action": SKIP, "timestamp": slate.created}
            row |= {"impression_id": slate.slate_id, "position": place, "propensity": item.get("propensity")}
            row |= {"file": f"slate {slate.slate_id}", "line": place}
            for name, column in log.items():
                column.append(row.get(name))


def _without_erased(log: Columns, rejected: Rejected) -> pa.Table:
    """The rows of which a user is known; the others go to ``rejected``."""
    kept = [user is not None for user in log["user_id"]]
    for row in (row for row, there in enumerate(kept) if not there):
        place = {"file": log["file"][row], "line": log["line"][row]}
        rejected.append({**place, "reason": "its user was erased", "row": f"item_id={log['item_id'][row]}"})
    table = arrow(log)
    return table if all(kept) else table.filter(kept)
