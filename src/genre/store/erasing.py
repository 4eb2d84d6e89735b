"""Forgetting a person who asks for it."""

from __future__ import annotations

import hashlib
from typing import Any

from sqlalchemy import Connection, delete, null, select, update

import genre.store.tables as t
from genre.store.access import Access, next_changes, usable
from genre.store.audit import note
from genre.store.faults import NotFound, explained


def mark_of(user_id: str) -> str:
    """What stands in the place of an erased user's id; who knows the id can tell that it is meant, nobody else."""
    return f"erased:{hashlib.sha256(user_id.encode()).hexdigest()[:16]}"


def marks(access: Access) -> set[str]:
    """Those of all users who were erased."""
    asked = select(t.users.c.id).where(t.users.c.deleted, t.users.c.id.startswith("erased:"))
    with access.reading() as connection:
        return set(connection.execute(asked).scalars())


def erase(access: Access, user_id: str, who: str) -> dict[str, int]:
    """Erase all that leads to a user, and note in the audit that and how much.

    Events stay as something that somebody did with an item, so that counts and totals stay true, but lose the user, the
    slate and the context; an event that is sent again is still known by its ``event_id`` and does not come back. The
    user's attributes and slates are deleted, and lines of the audit name a hash in the place of the id. SQLite
    overwrites what is deleted. Backups from before still have it, and so do models that were trained before.
    """
    if not usable([user_id]):
        raise NotFound("there is no such user")
    now, mark = access.clock(), mark_of(user_id)

    def work(connection: Connection) -> dict[str, int]:
        change = next_changes(connection)
        gone = {"user_id": None, "slate_id": None, "context": null()}
        done = {
            "events": update(t.events).where(t.events.c.user_id == user_id).values(**gone),
            "slates": delete(t.slates).where(t.slates.c.user_id == user_id),
            "attributes": delete(t.users).where(t.users.c.id == user_id),
            "counts": delete(t.user_counts).where(t.user_counts.c.user_id == user_id),
            "audit": update(t.audit).where(t.audit.c.target.in_([user_id, f"user:{user_id}"])).values(target=mark),
        }
        counts = {name: connection.execute(statement).rowcount for name, statement in done.items()}
        # Servers hear of a change of users by its number; under the hash it says that one is gone, not who.
        connection.execute(t.users.delete().where(t.users.c.id == mark))
        told = {"id": mark, "columns": {}, "created": now, "updated": now, "change": change, "deleted": True}
        connection.execute(t.users.insert().values(**told))
        note(connection, now, who, "user.erase", mark, counts)
        return counts

    counts = access.write(work)
    _flush_log(access)
    return counts


def _flush_log(access: Access) -> None:
    """Move the write-ahead log of an SQLite file into it and empty it, as it holds the rows as they were."""
    if access.engine.dialect.name == "sqlite":
        with explained(access.address), access.engine.connect() as connection:
            driver: Any = connection.connection.driver_connection
            driver.execute("PRAGMA wal_checkpoint(TRUNCATE)").close()
