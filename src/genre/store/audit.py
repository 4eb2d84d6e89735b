"""The audit: who did what, and when. Lines are added and never changed, except that an erased user's id goes."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Row, select

import genre.store.tables as t
from genre.store.access import Access
from genre.store.moderation import newest_first
from genre.store.records import Deed, Page


class Audit:
    """What was done to the service by its operators."""

    def __init__(self, access: Access) -> None:
        self._access = access

    def add(self, who: str, action: str, target: str, detail: dict[str, Any] | None = None) -> Deed:
        """Note a deed; never put a key or a password into ``detail``."""
        now = self._access.clock()
        return self._access.write(lambda connection: note(connection, now, who, action, target, detail or {}))

    def list(self, cursor: str | None = None, limit: int = 100, action: str | None = None) -> Page[Deed]:
        """The deeds, newest first."""
        asked = select(t.audit) if action is None else select(t.audit).where(t.audit.c.action == action)
        return newest_first(self._access, t.audit, asked, cursor, limit, _deed)


def note(connection: Connection, now: float, who: str, action: str, target: str, detail: dict[str, Any]) -> Deed:
    """Note a deed in the transaction that does it."""
    values = {"time": now, "who": who, "action": action, "target": target, "detail": detail}
    return _deed(connection.execute(t.audit.insert().values(**values).returning(*t.audit.c)).one())


def _deed(row: Row[Any]) -> Deed:
    return Deed(**row._mapping)
