"""Slates that are old enough to go, a few at a time, so that nobody who writes has to wait long."""

from __future__ import annotations

import time
from collections.abc import Callable

from sqlalchemy import Connection, delete, func, select

import genre.store.tables as t
from genre.store.access import Access
from genre.store.audit import note

BATCH = 500
"""Slates of one transaction; between two of them others write."""
REST = 0.01
"""Seconds between two transactions, in which other processes come to the lock."""
Told = Callable[[int], object]


def count_before(access: Access, before: float) -> int:
    """How many slates are older than a time."""
    with access.reading() as connection:
        asked = select(func.count()).select_from(t.slates).where(t.slates.c.created < before)
        return int(connection.execute(asked).scalar_one())


def prune(access: Access, before: float, who: str, told: Told = lambda n: None) -> int:
    """Delete the slates that were made before a time, and note in the audit how many; returns that.

    Events stay, all of them, with the ``slate_id`` that they name: what people did is kept for ever. What is lost is
    what was shown beside it, with scores and propensities: results of experiments and counts of that time, and what a
    policy could learn from it. Stopped at any moment, it goes on where it was.
    """
    gone = 0
    try:
        while n := access.write(lambda connection: _some(connection, before)):
            gone += n
            told(gone)
            time.sleep(REST)
    finally:
        if gone:
            now, detail = access.clock(), {"n": gone, "before": before}
            access.write(lambda connection: note(connection, now, who, "slates.prune", "slates", detail))
    return gone


def _some(connection: Connection, before: float) -> int:
    c = t.slates.c
    oldest = select(c.slate_id).where(c.created < before).order_by(c.created, c.slate_id).limit(BATCH)
    return connection.execute(delete(t.slates).where(c.slate_id.in_(oldest.scalar_subquery()))).rowcount
