"""Making all that is derived from the events anew, from the events alone."""

from __future__ import annotations

from sqlalchemy import Connection, select

from genre.store.access import Access
from genre.store.counting import DERIVED, counted, recount


def differences(connection: Connection) -> dict[str, int]:
    """For each derived table, how many of its rows are not what the events say; all 0 in a sound store."""
    made: dict[str, int] = {}
    for table, keys in DERIVED:
        have = {tuple(row) for row in connection.execute(select(*(table.c[k] for k in (*keys, "n", "latest"))))}
        made[table.name] = len(have ^ {tuple(row) for row in connection.execute(counted(keys))})
    return made


def rebuild(access: Access) -> dict[str, int]:
    """Make every derived table anew in one transaction; says how many rows of each were wrong or missing."""

    def work(connection: Connection) -> dict[str, int]:
        wrong = differences(connection)
        recount(connection)
        return wrong

    return access.write(work)
