"""What moderators settle: items that are hidden, pinned or blocked by a rule, and those that wait for a look."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from sqlalchemy import Connection, Row, Select, Table, or_, select, update

import genre.store.tables as t
from genre.store.access import Access, next_changes, number_of, usable
from genre.store.checking import json_problem
from genre.store.faults import Conflict, NotFound
from genre.store.records import Decision, Page, Review, Verdict

T = TypeVar("T")


class Moderation:
    """Decisions and the queue of reviews. No decision is ever changed or deleted: it is released, by whom and why."""

    def __init__(self, access: Access) -> None:
        self._access = access

    def decide(
        self,
        verdict: Verdict,
        who: str,
        why: str,
        *,
        item_id: str | None = None,
        rule: dict[str, Any] | None = None,
        until: float | None = None,
    ) -> Decision:
        """Hide or pin an item, or block all that a rule matches. Raises `Conflict` where it is not clear which."""
        if (item_id is None) == (rule is None):
            raise Conflict("a decision is about an item or by a rule: give one of item_id and rule")
        if (rule is not None and json_problem(rule)) or (item_id is not None and not usable([item_id])):
            raise Conflict("the rule or the item_id has characters or numbers that cannot be kept")
        values = {"verdict": verdict, "who": who, "why": why, "item_id": item_id, "rule": rule, "until": until}

        def work(connection: Connection) -> Decision:
            next_changes(connection)
            made = t.decisions.insert().values(**values, time=self._access.clock()).returning(*t.decisions.c)
            return _decision(connection.execute(made).one())

        return self._access.write(work)

    def release(self, number: int, who: str, why: str) -> Decision:
        """End a decision. Raises `NotFound`, or `Conflict` where it was released before."""
        values = {"released": self._access.clock(), "released_by": who, "released_why": why}

        def work(connection: Connection) -> Decision:
            next_changes(connection)
            return _decision(_ended(connection, t.decisions, number, "released", values))

        return self._access.write(work)

    def standing(self) -> list[Decision]:
        """Those in force now, oldest first."""
        c = t.decisions.c
        in_force = c.released.is_(None) & or_(c.until.is_(None), c.until > self._access.clock())
        with self._access.reading() as connection:
            rows = connection.execute(select(t.decisions).where(in_force).order_by(c.number))
            return [_decision(row) for row in rows]

    def history(self, item_id: str | None = None, cursor: str | None = None, limit: int = 100) -> Page[Decision]:
        """All decisions, or those about an item, newest first."""
        asked = select(t.decisions)
        if item_id is not None:
            asked = asked.where(t.decisions.c.item_id.in_(usable([item_id])))
        return newest_first(self._access, t.decisions, asked, cursor, limit, _decision)

    def report(self, item_id: str, who: str, why: str) -> Review:
        """Ask that somebody look at an item. One that waits already is given back."""
        if not usable([item_id]):
            raise NotFound("there is no such item")
        c = t.reviews.c

        def work(connection: Connection) -> Review:
            next_changes(connection)
            waiting = select(t.reviews).where(c.item_id == item_id, c.resolved.is_(None))
            if (row := connection.execute(waiting).first()) is not None:
                return _review(row)
            values = {"item_id": item_id, "who": who, "why": why, "time": self._access.clock()}
            return _review(connection.execute(t.reviews.insert().values(**values).returning(*c)).one())

        return self._access.write(work)

    def queue(self, cursor: str | None = None, limit: int = 100) -> Page[Review]:
        """Reviews that wait, newest first."""
        asked = select(t.reviews).where(t.reviews.c.resolved.is_(None))
        return newest_first(self._access, t.reviews, asked, cursor, limit, _review)

    def resolve(self, number: int, who: str, outcome: str) -> Review:
        """Say what came of a review. Raises `NotFound`, or `Conflict` where somebody has."""
        values = {"resolved": self._access.clock(), "resolved_by": who, "outcome": outcome}

        def work(connection: Connection) -> Review:
            next_changes(connection)
            return _review(_ended(connection, t.reviews, number, "resolved", values))

        return self._access.write(work)


def _ended(connection: Connection, table: Table, number: int, column: str, values: dict[str, Any]) -> Row[Any]:
    """Set how a row ended, unless it has."""
    this = table.c.number == number
    done = update(table).where(this, table.c[column].is_(None)).values(**values).returning(*table.c)
    row = connection.execute(done).one_or_none()
    if row is not None:
        return row
    what = table.name.removesuffix("s")
    if connection.execute(select(table.c.number).where(this)).one_or_none() is None:
        raise NotFound(f"there is no {what} {number}")
    raise Conflict(f"{what} {number} was {column} before")


def newest_first(
    access: Access, table: Table, asked: Select[Any], cursor: str | None, limit: int, made: Callable[[Row[Any]], T]
) -> Page[T]:
    """A page of rows in falling order of their numbers."""
    number = table.c.number
    if (before := number_of(cursor)) is not None:
        asked = asked.where(number < before)
    with access.reading() as connection:
        rows = connection.execute(asked.order_by(number.desc()).limit(limit + 1)).all()
    return Page([made(row) for row in rows[:limit]], str(rows[limit - 1].number) if len(rows) > limit else None)


def _decision(row: Row[Any]) -> Decision:
    return Decision(**row._mapping)


def _review(row: Row[Any]) -> Review:
    return Review(**row._mapping)
