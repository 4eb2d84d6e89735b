"""Slates as they were answered, and what became of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import Future
from typing import Any

from sqlalchemy import Connection, Row, case, exists, func, literal, or_, select

import genre.store.tables as t
from genre.store.access import CHUNK, Access, found, insert, usable
from genre.store.events import FIELDS, event_of
from genre.store.faults import NotFound
from genre.store.records import Event, Outcome, Page, Rate, SlateRow

NAMES = list(SlateRow.__dataclass_fields__)


class Slates:
    """What was shown to whom, by which model; an event that names a slate is the feedback on it."""

    def __init__(self, access: Access) -> None:
        self._access = access

    def submit(self, slates: list[SlateRow]) -> Future[int]:
        """Hand in slates; the future says how many were new once they are durable."""
        return self._access.submit(_keep, slates, max(1, len(slates)))

    def add(self, slates: list[SlateRow]) -> int:
        """The same, waiting for it."""
        return self.submit(slates).result()

    def get(self, slate_id: str) -> SlateRow:
        """One slate. Raises `NotFound`."""
        with self._access.reading() as connection:
            asked = select(t.slates).where(t.slates.c.slate_id.in_(usable([slate_id])))
            row = connection.execute(asked).one_or_none()
        if row is None:
            raise NotFound("there is no such slate; older ones may have been pruned")
        return _slate(row)

    def of_user(self, user_id: str, limit: int = 20) -> list[SlateRow]:
        """The latest of a user, newest first."""
        return self._list(limit, t.slates.c.user_id.in_(usable([user_id])))

    def latest(self, limit: int = 20) -> list[SlateRow]:
        """The latest of all, newest first."""
        return self._list(limit)

    def _list(self, limit: int, *where: Any) -> list[SlateRow]:
        c = t.slates.c
        statement = select(t.slates).where(*where).order_by(c.created.desc(), c.slate_id).limit(limit)
        with self._access.reading() as connection:
            return [_slate(row) for row in connection.execute(statement)]

    def feedback(self, slate_id: str) -> list[Event]:
        """The events that name a slate, in the order in which they came."""
        e = t.events.c
        asked = select(*FIELDS).where(e.slate_id.in_(usable([slate_id])), e.withdrawn.is_(None)).order_by(e.seq)
        with self._access.reading() as connection:
            return [event_of(row) for row in connection.execute(asked)]

    def rates(self, since: float, actions: list[str], until: float | None = None) -> list[Rate]:
        """For each model, experiment and arm: how many slates there were, and how many had an event of ``actions``."""
        c = t.slates.c
        by = (c.model, c.experiment, c.arm)
        troubled = case((func.json_array_length(c.degraded) > 0, 1), else_=0)
        statement = select(*by, func.count(), func.sum(_hit(actions)), func.sum(troubled)).group_by(*by).order_by(*by)
        statement = statement.where(c.created >= since, *([] if until is None else [c.created < until]))
        with self._access.reading() as connection:
            return [Rate(*row[:3], *(int(n) for n in row[3:])) for row in connection.execute(statement)]

    def outcomes(self, experiment: str, actions: list[str], since: float = 0.0) -> list[Outcome]:
        """For each user and arm of an experiment: how many slates, and how many with an event of ``actions``.

        By user, as the slates of one are not independent: intervals are to be drawn over users.
        """
        c = t.slates.c
        unit = func.coalesce(c.user_id, c.slate_id)
        statement = (
            select(unit, c.arm, func.count(), func.sum(_hit(actions))).group_by(unit, c.arm).order_by(unit, c.arm)
        )
        statement = statement.where(c.experiment == experiment, c.arm.is_not(None), c.created >= since)
        with self._access.reading() as connection:
            return [Outcome(who, arm, int(n), int(hits)) for who, arm, n, hits in connection.execute(statement)]

    def earned(self, experiment: str, worth: Mapping[str, float], since: float = 0.0) -> list[Outcome]:
        """The same as `outcomes`, with what the slates' events are ``worth`` by action, added up, as hits."""
        c, e = t.slates.c, t.events.c
        each = case(dict(worth), value=e.action, else_=0.0) if worth else literal(0.0)
        of_slate = select(func.sum(each)).where(e.slate_id == c.slate_id, e.withdrawn.is_(None)).scalar_subquery()
        unit = func.coalesce(c.user_id, c.slate_id)
        asked = select(unit, c.arm, func.count(), func.sum(func.coalesce(of_slate, 0.0))).group_by(unit, c.arm)
        asked = asked.where(c.experiment == experiment, c.arm.is_not(None), c.created >= since)
        with self._access.reading() as connection:
            rows = connection.execute(asked.order_by(unit, c.arm))
            return [Outcome(who, arm, int(n), float(earned)) for who, arm, n, earned in rows]

    def answers(self, experiment: str, actions: list[str], since: float = 0.0) -> list[tuple[SlateRow, str]]:
        """Each event of ``actions`` that names a slate of an experiment: the slate, and the item of the event."""
        c, e = t.slates.c, t.events.c
        asked = select(t.slates, e.item_id.label("touched")).join(t.events, e.slate_id == c.slate_id)
        asked = asked.where(c.experiment == experiment, c.created >= since, e.withdrawn.is_(None))
        asked = asked.where(e.action.in_(actions)).order_by(e.seq)
        with self._access.reading() as connection:
            rows = connection.execute(asked).all()
        return [(SlateRow(**{name: getattr(row, name) for name in NAMES}), row.touched) for row in rows]

    def chosen(self, model: str, after: tuple[float, str], until: float, limit: int) -> list[SlateRow]:
        """Slates of a model that a policy chose, made before ``until``: those behind the one of that time and id.

        Of all models whose name and version begin so. In the order of time and id.
        """
        c = t.slates.c
        behind = or_(c.created > after[0], c.slate_id > after[1])
        where = [c.model.startswith(model, autoescape=True), c.created >= after[0], behind, c.created < until]
        asked = select(t.slates).where(*where, c.request["policy"].as_string().is_not(None))
        with self._access.reading() as connection:
            rows = connection.execute(asked.order_by(c.created, c.slate_id).limit(limit))
            return [_slate(row) for row in rows]

    def earliest(self) -> float | None:
        """When the oldest slate was made; None where there is none."""
        with self._access.reading() as connection:
            return connection.execute(select(func.min(t.slates.c.created))).scalar()

    def answered(self, slate_ids: Iterable[str]) -> list[Event]:
        """The events that name any of some slates, in the order in which they came."""
        asked, e, made = usable(slate_ids), t.events.c, list[Event]()
        statement = select(*FIELDS).where(e.withdrawn.is_(None))
        with self._access.reading() as connection:
            for start in range(0, len(asked), CHUNK):
                some = statement.where(e.slate_id.in_(asked[start : start + CHUNK]))
                made += [event_of(row) for row in connection.execute(some)]
        return sorted(made, key=lambda one: one.seq or 0)

    def page(self, cursor: str | None = None, limit: int = 1000) -> Page[SlateRow]:
        """All slates in order of their ids, for exports."""
        c = t.slates.c
        statement = select(t.slates).order_by(c.slate_id).limit(limit + 1)
        statement = statement if cursor is None else statement.where(c.slate_id > cursor)
        with self._access.reading() as connection:
            rows = [_slate(row) for row in connection.execute(statement)]
        return Page(rows[:limit], rows[limit - 1].slate_id if len(rows) > limit else None)


def _slate(row: Row[Any]) -> SlateRow:
    return SlateRow(**row._mapping)


def _hit(actions: list[str]) -> Any:
    """1 for a slate that an event of ``actions`` names, else 0."""
    e = t.events.c
    answered = exists().where(e.slate_id == t.slates.c.slate_id, e.withdrawn.is_(None), e.action.in_(actions))
    return case((answered, 1), else_=0)


def _keep(connection: Connection, batches: list[list[SlateRow]]) -> list[int]:
    """Write the slates of several callers; one that is there already stays as it was."""
    ids = (slate.slate_id for batch in batches for slate in batch)
    there = {row.slate_id for row in found(connection, t.slates, "slate_id", ids, "slate_id")}
    new: dict[str, SlateRow] = {}
    counts: list[int] = []
    for batch in batches:
        before = len(new)
        for slate in batch:
            if slate.slate_id not in there:
                new.setdefault(slate.slate_id, slate)
        counts.append(len(new) - before)
    if new:
        rows = [{name: getattr(slate, name) for name in NAMES} for slate in new.values()]
        connection.execute(insert(connection, t.slates).on_conflict_do_nothing(), rows)
    return counts
