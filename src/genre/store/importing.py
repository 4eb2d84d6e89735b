"""The log of a run as the first content of a store."""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

from genre.data import INTERACTION_COLUMNS, Dataset
from genre.store.checking import checked, checked_entry
from genre.store.erasing import mark_of, marks
from genre.store.records import Event, Receipt, Rejected

if TYPE_CHECKING:
    import pyarrow as pa

    from genre.store import Store

T = TypeVar("T")
CHUNK = 2_000
"""Rows that are handed in at a time."""
AHEAD = 4
"""Chunks that may wait for the writer."""
OWN = ("event_id", "user_id", "item_id", "action", "value", "timestamp")
Told = Callable[[int], object]


@dataclass
class Import:
    """What became of the rows."""

    events: Counter[str] = field(default_factory=Counter)
    """How many were accepted, and how many there already (duplicate)."""
    items: int = 0
    users: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    """Rows that cannot be kept, by reason."""


def event_ids(table: pa.Table) -> list[str]:
    """For each interaction the id that its event gets: the same row always has the same one.

    Rows that are equal in every main column are numbered, so that each keeps its own.
    """
    columns = [table[name].to_pylist() if name in table.column_names else [] for name in INTERACTION_COLUMNS]
    columns = [column or [None] * table.num_rows for column in columns]
    seen: Counter[tuple[Any, ...]] = Counter()
    made: list[str] = []
    for row in zip(*columns, strict=True):
        seen[row] += 1
        text = json.dumps([*row, seen[row]], ensure_ascii=False)
        made.append("import:" + hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32])
    return made


def import_data(store: Store, data: Dataset, told: Told = lambda rows: None) -> Import:
    """Put the items, users and interactions of a prepared dataset into the store.

    Done again it changes nothing, and goes on where it was stopped: every event is known by an id made from its row.
    Items and users that the store knows already stay as they are there. Who was erased does not come back.
    """
    done = Import()
    gone = marks(store.access)
    done.items = _entries(store, store.items, data.items, "item_id", done, told, set())
    done.users = _entries(store, store.users, data.users, "user_id", done, told, gone)
    waiting: deque[Future[list[Receipt]]] = deque()
    named = data.interactions.append_column("event_id", [event_ids(data.interactions)])
    for chunk in _chunks(_events(named, done, gone)):
        waiting.append(store.events.submit(chunk, undated=True))
        if len(waiting) > AHEAD:
            _settled(waiting.popleft(), done, told)
    while waiting:
        _settled(waiting.popleft(), done, told)
    return done


def _settled(future: Future[list[Receipt]], done: Import, told: Told) -> None:
    receipts = future.result()
    for receipt in receipts:
        if receipt.reason is not None:
            done.rejected[receipt.reason] += 1
        else:
            done.events[receipt.status] += 1
    told(len(receipts))


def _entries(store: Store, catalogue: Any, table: pa.Table, key: str, done: Import, told: Told, gone: set[str]) -> int:
    """Put the rows of a table that the catalogue lacks; says how many those were."""
    n = 0
    for rows in _chunks(iter(table.to_pylist())):
        ids = [str(row[key]) for row in rows]
        known = catalogue.get(ids)
        new = []
        for one, row in zip(ids, rows, strict=True):
            if one in known or (gone and mark_of(one) in gone):
                continue
            entry = checked_entry({name: _json(value) for name, value in row.items() if not _missing(value)}, key)
            if isinstance(entry, Rejected):
                done.rejected[entry.reason] += 1
            else:
                new.append(entry)
        n += len(new)
        catalogue.put(new)
        told(len(rows))
    return n


def _events(table: pa.Table, done: Import, gone: set[str]) -> Iterator[Event]:
    """The interactions as events: impressions name slates, what events have no field for goes into their context."""
    further = [name for name in table.column_names if name not in {*OWN, "impression_id", "position", "part"}]
    for start in range(0, table.num_rows, CHUNK):
        yield from _piece(table.slice(start, CHUNK).to_pylist(), further, done, gone)


def _piece(rows: list[dict[str, Any]], further: list[str], done: Import, gone: set[str]) -> Iterator[Event]:
    for row in rows:
        raw = {name: row.get(name) for name in OWN}
        raw |= {"slate_id": row.get("impression_id"), "position": row.get("position")}
        raw["context"] = {name: _json(row[name]) for name in further if not _missing(row[name])}
        event = checked({name: value for name, value in raw.items() if not _missing(value)})
        if isinstance(event, Rejected):
            done.rejected[event.reason] += 1
        elif gone and mark_of(str(event.user_id)) in gone:
            done.rejected["its user was erased"] += 1
        else:
            yield event


def _missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def _json(value: Any) -> Any:
    """A value as JSON has it; what it has no word for, such as a date, as text."""
    if isinstance(value, (str, int, float, bool)) or value is None:
        return value
    if isinstance(value, (list, tuple)):
        return [_json(one) for one in value]
    if isinstance(value, dict):
        return {str(name): _json(one) for name, one in value.items()}
    return str(value)


def _chunks(rows: Iterable[T]) -> Iterator[list[T]]:
    found = iter(rows)
    while chunk := list(islice(found, CHUNK)):
        yield chunk
