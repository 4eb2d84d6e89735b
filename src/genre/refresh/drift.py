"""Whether what comes in and goes out is still what it was: items, actions, texts, people, scores, clicks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from genre.component import name_of
from genre.data import SKIP
from genre.detectors import Detector, Watched
from genre.errors import DataError, GenreError
from genre.text import columns_of, words_of

if TYPE_CHECKING:
    import pyarrow as pa

    from genre.store import Store

HOUR, DAY = 3600.0, 86400.0
PEOPLE = ("events", "events in the busiest hour", "share of different items", "usual pause", "evenness of pauses")
FEWEST_EVENTS = 3
"""Events of a person below which nothing is said of their pace."""
SETTLED = 600.0
"""Seconds after which a slate that nobody answered to counts as such."""
MOST_NAMED = 10
"""Points of a stream and people that a report names."""
PAGE = 10_000


@dataclass(frozen=True)
class Happened:
    """Events as arrays of one length, in order of time."""

    user: NDArray[Any]
    item: NDArray[Any]
    action: NDArray[Any]
    time: NDArray[np.float64]

    @classmethod
    def of(cls, table: pa.Table) -> Happened:
        """Those of a table of interactions that have a time."""
        times = table["timestamp"].to_numpy(zero_copy_only=False).astype(np.float64)
        order = np.argsort(times, kind="stable")[: int(np.isfinite(times).sum())]
        words = [np.array(table[name].to_pylist(), dtype=object)[order] for name in ("user_id", "item_id", "action")]
        return cls(*words, time=times[order])

    def __len__(self) -> int:
        return len(self.time)

    def where(self, mask: NDArray[np.bool_]) -> Happened:
        """Some of them."""
        return Happened(self.user[mask], self.item[mask], self.action[mask], self.time[mask])

    def latest(self, seconds: float) -> Happened:
        """Those of the last stretch of that length."""
        return self.where(self.time > self.time[-1] - seconds) if len(self) else self


@dataclass(frozen=True)
class People:
    """A row for each person with a few events."""

    user: NDArray[Any]
    rows: NDArray[np.float64]
    """``[people, len(PEOPLE)]``."""

    @classmethod
    def of(cls, log: Happened) -> People:
        """How much, how fast, how evenly and how variedly each person acts."""
        names, user = np.unique(log.user.astype(str), return_inverse=True)
        count = np.bincount(user, minlength=len(names))
        order = np.lexsort((log.time, user))
        same = user[order][1:] == user[order][:-1]
        pause = np.log1p(np.maximum(np.diff(log.time[order])[same], 0.0))
        owner = user[order][1:][same]
        n = np.maximum(np.bincount(owner, minlength=len(names)), 1)
        mean = np.bincount(owner, pause, len(names)) / n
        spread = np.sqrt(np.maximum(np.bincount(owner, pause**2, len(names)) / n - mean**2, 0.0))
        hours = np.unique(np.stack([user, np.floor(log.time / HOUR).astype(np.int64)]), axis=1, return_counts=True)
        busiest = np.zeros(len(names))
        np.maximum.at(busiest, hours[0][0], hours[1])
        items = np.unique(log.item.astype(str), return_inverse=True)[1]
        different = np.bincount(np.unique(np.stack([user, items]), axis=1)[0], minlength=len(names))
        rows = np.stack([np.log1p(count), np.log1p(busiest), different / np.maximum(count, 1), mean, spread], axis=1)
        kept = count >= FEWEST_EVENTS
        return cls(names[kept], rows[kept])


def inputs(before: Happened, now: Happened, items: pa.Table, template: str) -> Iterator[Watched]:
    """What people do now beside what they did before."""
    if not len(before) or not len(now):
        return
    yield Watched("items", before.item, now.item)
    yield Watched("actions", before.action, now.action)
    words = _lengths(items, template)
    yield Watched("words of an item", _known(before.item, words), _known(now.item, words))
    # A pace is one of a stretch of time: a year's events of a person are more than a week's.
    span = max(float(now.time[-1] - now.time[0]), HOUR)
    recent = before.latest(span)
    yield Watched("events of a person a day", _daily(before), _daily(now))
    yield Watched("people", People.of(recent).rows, People.of(now).rows, PEOPLE)


def outputs(store: Store, since: float, clicks: Sequence[str]) -> Iterator[Watched]:
    """What the service shows and how it is answered to since a moment, beside before; of the latest model alone."""
    slates = sorted(_slates(store), key=lambda one: one.created)
    slates = [one for one in slates if one.items and one.created < slates[-1].created - SETTLED]
    if not slates:
        return
    answered = _answered(store, set(clicks))
    time = np.array([one.created for one in slates])
    hit = np.array([float(one.slate_id in answered) for one in slates])
    yield Watched("clicks of a slate", hit[time < since], hit[time >= since])
    whole = np.array([float(bool(one.degraded)) for one in slates])
    yield Watched("degraded slates", whole[time < since], whole[time >= since])
    own = np.array([one.model == slates[-1].model for one in slates])
    score = np.array([float(one.items[0].get("score") or np.nan) for one in slates])
    own &= np.isfinite(score)
    yield Watched("first score of a slate", score[own & (time < since)], score[own & (time >= since)])


READS = {
    "items": ("words",),
    "actions": ("words",),
    "words of an item": ("numbers",),
    "events of a person a day": ("numbers",),
    "people": ("people",),
    "clicks of a slate": ("stream",),
    "degraded slates": ("stream",),
    "first score of a slate": ("numbers",),
}
"""Which detectors look at what."""


def look(watched: Sequence[Watched], detectors: Sequence[Detector], people: Sequence[str] = ()) -> list[dict[str, Any]]:
    """What each detector says of each thing that it reads; ``people`` are the names of the rows of that table."""
    rows: list[dict[str, Any]] = []
    for one in watched:
        sizes = {"watched": one.name, "before": len(one.before), "now": len(one.now)}
        for detector in detectors:
            if detector.reads not in READS[one.name]:
                continue
            row = {**sizes, "detector": name_of(detector)}
            if not one.enough:
                rows.append({**row, "alarm": None, "why": "too little to judge by"})
                continue
            try:
                found = detector.detect(one)
            except GenreError as error:
                # One that is not installed keeps the others from nothing.
                rows.append({**row, "alarm": None, "why": str(error)})
                continue
            who = [people[i] for i in found.at[:MOST_NAMED]] if one.name == "people" and len(people) else []
            numbers = {"statistic": round(found.statistic, 6), "threshold": round(found.threshold, 6)}
            at = {"people": who} if who else {"at": list(found.at[:MOST_NAMED])}
            rows.append({**row, "alarm": found.alarm, **numbers, "why": found.why, **at})
    return rows


def report_of(
    before: Happened, now: Happened, items: pa.Table, template: str, detectors: Sequence[Detector]
) -> list[dict[str, Any]]:
    """What the detectors say of what people do."""
    return look(list(inputs(before, now, items, template)), detectors, People.of(now).user.tolist())


def tell(store: Store, rows: Sequence[dict[str, Any]], quiet: float, now: float) -> int:
    """Note the alarms in the audit of the store, where the console reads them; returns how many are new.

    One that was noted within the last ``quiet`` seconds is not noted again.
    """
    noted = {deed.target for deed in store.audit.list(limit=1000, action="drift.alarm").rows if deed.time > now - quiet}
    told = 0
    for row in rows:
        target = f"{row['watched']}: {row['detector']}"
        if row["alarm"] and target not in noted:
            detail = {name: row[name] for name in ("why", "statistic", "threshold", "people") if name in row}
            store.audit.add("drift", "drift.alarm", target, detail)
            told += 1
    return told


def window_of(log: Happened, days: float) -> float:
    """The moment at which the newest ``days`` of a log begin. Raises `DataError` where nothing is older."""
    if not len(log):
        raise DataError("the store holds no events, so there is nothing to watch")
    return float(log.time[-1]) - days * DAY


def _lengths(items: pa.Table, template: str) -> dict[str, float]:
    """Words of each item's columns of the template, by id."""
    names = [name for name in dict.fromkeys(columns_of(template)) if name in items.column_names]
    counts = np.zeros(items.num_rows)
    for name in names:
        counts += np.array([len(text.split()) for text in words_of(items, name)], dtype=np.float64)
    return dict(zip(items["item_id"].to_pylist(), counts.tolist(), strict=True))


def _known(items: NDArray[Any], lengths: dict[str, float]) -> NDArray[np.float64]:
    found = np.array([lengths.get(item, np.nan) for item in items])
    return found[np.isfinite(found)]


def _daily(log: Happened) -> NDArray[np.float64]:
    """Events of each person and day on which they did anything."""
    user = np.unique(log.user.astype(str), return_inverse=True)[1]
    days = np.stack([user, np.floor(log.time / DAY).astype(np.int64)])
    return np.unique(days, axis=1, return_counts=True)[1].astype(np.float64)


def _slates(store: Store) -> Iterator[Any]:
    cursor: str | None = None
    while True:
        page = store.slates.page(cursor, PAGE)
        yield from page.rows
        cursor = page.cursor
        if cursor is None:
            return


def _answered(store: Store, clicks: set[str]) -> set[str]:
    """The slates with an event of some actions; of any but a skip where none is named."""
    found: set[str] = set()
    seq = 0
    while events := store.events.since(seq, PAGE):
        for event in events:
            if event.slate_id and (event.action in clicks if clicks else event.action != SKIP):
                found.add(event.slate_id)
        seq = max(event.seq or 0 for event in events)
    return found
