"""How many slates there were and how many were answered to, counted by the database, by time and by what made them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import (
    CTE,
    BigInteger,
    Integer,
    and_,
    case,
    cast,
    exists,
    func,
    literal,
    null,
    select,
    union_all,
)

import genre.store.tables as t
from genre.data import SKIP
from genre.store.access import Access

By = Literal["all", "model", "rung", "arm"]
NAMES = ("model", "rung", "experiment", "arm")
"""What may tell slates apart; each is None where it was not asked for."""


@dataclass(frozen=True, slots=True)
class Counted:
    """The slates of a window that have their model, rung or arm in common."""

    window: int | None
    """Number of the window since 1970; None for all windows together."""
    model: str | None
    rung: str | None
    experiment: str | None
    arm: str | None
    users: int
    """Each slate for nobody in particular counts as one."""
    slates: int
    hits: int
    """Slates with at least one event that counts."""
    squares: tuple[float, float, float]
    """Over users: hits squared, hits times slates, slates squared. An interval over users is made of them."""


def counted(
    access: Access, by: By, seconds: float, since: float, until: float, actions: Sequence[str] = ()
) -> list[Counted]:
    """Slates made from ``since`` to before ``until``, by windows of ``seconds`` that begin at multiples of them.

    An event counts that names the slate and has one of ``actions``; where none is named, any but a skip.
    """
    users = _users(access, by, seconds, since, until, actions)
    whole = _over_windows(users)
    windows = select(users.c.window, *(users.c[name] for name in NAMES), *_sums(users))
    windows = windows.group_by(users.c.window, *(users.c[name] for name in NAMES))
    asked = union_all(windows, whole).cte("told")
    statement = select(asked).order_by(asked.c.window, *(asked.c[name] for name in NAMES))
    with access.reading() as connection:
        return [_counted(tuple(row)) for row in connection.execute(statement)]


def _users(access: Access, by: By, seconds: float, since: float, until: float, actions: Sequence[str]) -> CTE:
    """A row a window, what made the slates, and user: how many slates, and how many were answered to."""
    c, e = t.slates.c, t.events.c
    meant = e.action.in_(list(actions)) if actions else e.action != SKIP
    hit = exists().where(and_(e.slate_id == c.slate_id, e.withdrawn.is_(None), meant))
    # A cast cuts off on SQLite, which has no floor everywhere, and rounds on PostgreSQL.
    place: Any = c.created / literal(seconds)
    place = func.floor(place) if access.engine.dialect.name == "postgresql" else place
    names = {
        "model": c.model if by == "model" else null(),
        "rung": c.request["rung"].as_string() if by == "rung" else null(),
        "experiment": c.experiment if by == "arm" else null(),
        "arm": c.arm if by == "arm" else null(),
    }
    each = select(
        cast(place, Integer).label("window"),
        *(cast(value, t.Word).label(name) for name, value in names.items()),
        func.coalesce(c.user_id, c.slate_id).label("unit"),
        case((hit, 1), else_=0).label("hit"),
    )
    where = [c.created >= since, c.created < until, *([c.arm.is_not(None)] if by == "arm" else [])]
    slate = each.where(*where).cte("slate")
    keys = (slate.c.window, *(slate.c[name] for name in NAMES), slate.c.unit)
    counts = (func.count().label("n"), func.sum(slate.c.hit).label("h"))
    # Read twice below, and so kept: by window, and over all of them.
    return select(*keys, *counts).group_by(*keys).cte("person").prefix_with("MATERIALIZED")


def _over_windows(users: CTE) -> Any:
    """The same users over all windows: one of several windows is one user still."""
    keys = (*(users.c[name] for name in NAMES), users.c.unit)
    sums = (func.sum(users.c.n).label("n"), func.sum(users.c.h).label("h"))
    person = select(*keys, *sums).group_by(*keys).cte("throughout")
    names = [person.c[name] for name in NAMES]
    return select(cast(null(), Integer).label("window"), *names, *_sums(person)).group_by(*names)


def _sums(person: CTE) -> list[Any]:
    n, h = cast(person.c.n, BigInteger), cast(person.c.h, BigInteger)
    return [func.count(), func.sum(n), func.sum(h), func.sum(h * h), func.sum(h * n), func.sum(n * n)]


def _counted(row: tuple[Any, ...]) -> Counted:
    window, model, rung, experiment, arm, users, slates, hits, *squares = row
    hh, hn, nn = map(float, squares)
    return Counted(window, model, rung, experiment, arm, int(users), int(slates), int(hits), (hh, hn, nn))
