"""Events: kept as they came, for ever, in the order in which they became durable."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from concurrent.futures import Future
from typing import Any

from sqlalchemy import Connection, Row, case, func, select, update

import genre.store.tables as t
from genre.store.access import Access, found, insert, next_changes, number_of, usable
from genre.store.counting import recount
from genre.store.records import Event, Page, Receipt

AHEAD = 300.0
"""Seconds that a client's clock may be ahead; what claims to be later still is ordered by when it came."""
NAMES = list(Event.__dataclass_fields__)
FIELDS = [t.events.c[name] for name in NAMES]
_CONTEXT = NAMES.index("context")


class Events:
    """The log. An event is known by its ``event_id``: one that comes again is a duplicate, and kept once."""

    def __init__(self, access: Access) -> None:
        self._access = access

    def submit(self, events: list[Event], undated: bool = False) -> Future[list[Receipt]]:
        """Hand in checked events; the future gives a receipt for each once all are durable.

        ``undated`` are those of an old log: one without a time is then one of an unknown time, not of now.
        """
        received = self._access.clock()
        timed = [_timed(event, received, undated) for event in events]
        return self._access.submit(_keep, timed, max(1, len(events)))

    def append(self, events: list[Event], undated: bool = False) -> list[Receipt]:
        """The same, waiting for it."""
        return self.submit(events, undated).result()

    def latest(self, user_id: str, limit: int = 50) -> list[Event]:
        """The latest events of a user, oldest first."""
        if not usable([user_id]):
            return []
        e = t.events.c
        statement = select(*FIELDS).where(e.user_id == user_id, e.withdrawn.is_(None))
        with self._access.reading() as connection:
            rows = connection.execute(statement.order_by(e.time.desc(), e.seq.desc()).limit(limit)).all()
        return [event_of(row) for row in reversed(rows)]

    def since(self, seq: int, limit: int = 1000) -> list[Event]:
        """Events after the one numbered ``seq``, in order of their numbers; none that is committed later is missed."""
        e = t.events.c
        statement = select(*FIELDS).where(e.seq > seq, e.withdrawn.is_(None)).order_by(e.seq).limit(limit)
        with self._access.reading() as connection:
            return [event_of(row) for row in connection.execute(statement)]

    def find(
        self,
        user_id: str | None = None,
        item_id: str | None = None,
        action: str | None = None,
        cursor: str | None = None,
        limit: int = 100,
    ) -> Page[Event]:
        """Events of a user, an item, an action, or any mixture, in order of their numbers."""
        asked = {"user_id": user_id, "item_id": item_id, "action": action}
        wanted = {name: value for name, value in asked.items() if value is not None}
        if len(usable(wanted.values())) < len(wanted):
            return Page([], None)
        e = t.events.c
        statement = select(*FIELDS).where(e.withdrawn.is_(None), *(e[name] == value for name, value in wanted.items()))
        if (after := number_of(cursor)) is not None:
            statement = statement.where(e.seq > after)
        with self._access.reading() as connection:
            rows = [event_of(row) for row in connection.execute(statement.order_by(e.seq).limit(limit + 1))]
        return Page(rows[:limit], str(rows[limit - 1].seq) if len(rows) > limit else None)

    def withdraw(self, user_id: str, item_id: str, action: str | None = None) -> int:
        """Take back what a user did with an item: the rows stay, but are neither read nor counted any more."""
        if len(usable([user_id, item_id])) < 2:
            return 0
        now = self._access.clock()

        def work(connection: Connection) -> int:
            e = t.events.c
            where = [e.user_id == user_id, e.item_id == item_id, e.withdrawn.is_(None)]
            where += [] if action is None else [e.action == action]
            n = connection.execute(update(t.events).where(*where).values(withdrawn=now)).rowcount
            if n:
                next_changes(connection)
                recount(connection, item_id=item_id, user_id=user_id)
            return n

        return self._access.write(work)

    def last_seq(self) -> int:
        """Number of the latest event; 0 if there is none."""
        with self._access.reading() as connection:
            return int(connection.execute(select(func.max(t.events.c.seq))).scalar() or 0)

    def count(self) -> int:
        """How many events are kept, those that were taken back aside."""
        with self._access.reading() as connection:
            return int(connection.execute(select(func.sum(t.item_counts.c.n))).scalar() or 0)

    def known(self, event_ids: Iterable[str]) -> list[bool]:
        """Whether each of some events is kept, or was."""
        asked = list(event_ids)
        with self._access.reading() as connection:
            there = {row.event_id for row in found(connection, t.events, "event_id", usable(asked), "event_id")}
        return [one in there for one in asked]

    def counts(self, item_ids: Iterable[str]) -> dict[str, dict[str, int]]:
        """How often each action befell each of some items; an item without events is left out."""
        made: dict[str, dict[str, int]] = {}
        with self._access.reading() as connection:
            for item_id, action, n in found(
                connection, t.item_counts, "item_id", usable(item_ids), "item_id", "action", "n"
            ):
                made.setdefault(item_id, {})[action] = int(n)
        return made

    def popular(self, action: str | None = None, limit: int = 100) -> list[tuple[str, int]]:
        """The items with most events, and how many."""
        c = t.item_counts.c
        total = func.sum(c.n)
        statement = select(c.item_id, total).group_by(c.item_id).order_by(total.desc(), c.item_id).limit(limit)
        if action is not None:
            statement = statement.where(c.action == action)
        with self._access.reading() as connection:
            return [(item_id, int(n)) for item_id, n in connection.execute(statement)]


def _timed(event: Event, received: float, undated: bool) -> dict[str, Any]:
    """The row of an event, with the time that histories are ordered by."""
    time = (0.0 if undated else received) if event.timestamp is None else event.timestamp
    if time > received + AHEAD:
        time = received
    row = {name: getattr(event, name) for name in _STORED}
    return {**row, "context": event.context or None, "received": received, "time": time}


_STORED = [name for name in NAMES if name not in ("seq", "received", "time")]


def event_of(row: Row[Any]) -> Event:
    """An event from a row of `FIELDS`."""
    values: Any = (*row[:_CONTEXT], row[_CONTEXT] or {}, *row[_CONTEXT + 1 :])
    return Event(*values)


def _keep(connection: Connection, batches: list[list[dict[str, Any]]]) -> list[list[Receipt]]:
    """Write the events of several callers that are not there yet, and count them."""
    rows = [row for batch in batches for row in batch]
    names = ("event_id", "user_id", "item_id", "action")
    there = {row[0]: row[1:] for row in found(connection, t.events, "event_id", (r["event_id"] for r in rows), *names)}
    items = _known(connection, "items", {row["item_id"] for row in rows})
    users = _known(connection, "users", {row["user_id"] for row in rows})
    new: list[dict[str, Any]] = []
    receipts: list[Receipt] = []
    for row in rows:
        key, what = row["event_id"], (row["user_id"], row["item_id"], row["action"])
        lacks = (row["user_id"] not in users, row["item_id"] not in items)
        if key not in there:
            there[key] = what
            new.append(row)
            receipts.append(Receipt(key, "accepted", None, *lacks))
        elif there[key] == what or there[key][0] is None:
            receipts.append(Receipt(key, "duplicate", None, *lacks))
        else:
            receipts.append(Receipt(key, "rejected", "event_id is that of another event, which is kept"))
    if new:
        connection.execute(t.events.insert(), new)
        _count(connection, new)
    done = iter(receipts)
    return [[next(done) for _ in batch] for batch in batches]


def _known(connection: Connection, table: str, ids: set[str]) -> set[str]:
    rows = found(connection, t.metadata.tables[table], "id", ids, "id", "deleted")
    return {row.id for row in rows if not row.deleted}


def _count(connection: Connection, new: list[dict[str, Any]]) -> None:
    """Add new events to what is derived from them."""
    for table, keys in ((t.item_counts, ("item_id", "action")), (t.user_counts, ("user_id",))):
        n = Counter(tuple(row[key] for key in keys) for row in new)
        latest: dict[tuple[str, ...], float] = {}
        for row in new:
            key = tuple(row[name] for name in keys)
            latest[key] = max(row["time"], latest.get(key, 0.0))
        rows = [{**dict(zip(keys, key, strict=True)), "n": n[key], "latest": latest[key]} for key in sorted(n)]
        added = insert(connection, table)
        later = case((table.c.latest > added.excluded.latest, table.c.latest), else_=added.excluded.latest)
        connection.execute(
            added.on_conflict_do_update(
                index_elements=list(keys), set_={"n": table.c.n + added.excluded.n, "latest": later}
            ),
            rows,
        )
