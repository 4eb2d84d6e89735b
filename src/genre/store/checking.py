"""What clients send, checked field by field: one place that says what an event, an item or a user may look like."""

from __future__ import annotations

import json
import math
import uuid
from collections.abc import Callable, Mapping
from typing import Any

from genre.component import suggest
from genre.store.records import Entry, Event, Rejected

LONGEST_ID = 256
LONGEST_ACTION = 64
LONGEST_CONTEXT = 8 * 1024
"""Most bytes of an event's context as JSON."""
LONGEST_COLUMNS = 64 * 1024
"""Most bytes of an item's or user's columns as JSON."""
DEEPEST = 8
"""Most levels of lists and mappings within each other."""
LARGEST_INTEGER = 2**53
"""Whole numbers beyond this are not the same number to every client."""
LATEST = 1e11
"""Times from here on are milliseconds: as seconds they would lie in the year 5138."""
FARTHEST_POSITION = 1_000_000


class _Wrong(Exception):
    """A value that cannot be used; the text says why."""


def checked(raw: Any) -> Event | Rejected:
    """The event that a client's JSON object describes, or why there is none. Never raises, whatever it is given.

    An event without an ``event_id`` gets one, so that sending it again makes a second event.
    """
    if not isinstance(raw, Mapping):
        return Rejected(f"an event is an object, not {_called(raw)}")
    made: dict[str, Any] = {}
    for name in raw:
        if name not in _EVENT:
            return _unknown(name, list(_EVENT))
    for name, check in _EVENT.items():
        try:
            made[name] = check(raw.get(name))
        except _Wrong as wrong:
            return Rejected(f"{name} {wrong}", name)
    made["event_id"] = made["event_id"] or uuid.uuid4().hex
    return Event(**made)


def checked_entry(raw: Any, key: str) -> Entry | Rejected:
    """The item (``key`` is ``item_id``) or user (``user_id``) that a JSON object describes, or why there is none.

    All fields but the id are its columns.
    """
    if not isinstance(raw, Mapping):
        return Rejected(f"expected an object with {key}, got {_called(raw)}")
    found = raw.get(key)
    if problem := id_problem(found):
        return Rejected(f"{key} {problem}", key)
    columns = checked_columns({name: value for name, value in raw.items() if name != key})
    return columns if isinstance(columns, Rejected) else Entry(str(found), columns)


def checked_columns(raw: Any) -> dict[str, Any] | Rejected:
    """The columns of an item or user, or why they cannot be kept. None as a value is kept: it says not known."""
    if not isinstance(raw, Mapping):
        return Rejected(f"columns are an object, not {_called(raw)}")
    if "" in raw:
        return Rejected("a column has no name")
    try:
        return _object(LONGEST_COLUMNS)(raw)
    except _Wrong as wrong:
        return Rejected(f"columns: {wrong}")


def id_problem(value: Any) -> str | None:
    """What is wrong with the id of an item, user, slate or event; None if nothing is."""
    try:
        _word(LONGEST_ID)(value)
    except _Wrong as wrong:
        return str(wrong)
    return None


def json_problem(value: Any) -> str | None:
    """Why a value cannot be kept as JSON; None if it can."""
    try:
        _plain(value, DEEPEST)
    except _Wrong as wrong:
        return str(wrong)
    return None


def _unknown(name: Any, known: list[str]) -> Rejected:
    if not isinstance(name, str) or _bad_characters(name) or len(name) > LONGEST_ACTION:
        return Rejected("has a field with an unusable name; further facts go into context")
    return Rejected(f"unknown field '{name}'; {suggest(name, known)}; further facts go into context", name)


def _called(value: Any) -> str:
    """What JSON calls the type of a value."""
    names = {dict: "an object", list: "a list", str: "a string", bool: "a boolean", int: "a number", float: "a number"}
    return "null" if value is None else names.get(type(value), "something else")


def _bad_characters(text: str) -> str | None:
    if "\0" in text:
        return "has a NUL character"
    if not text.isascii() and any("\ud800" <= letter <= "\udfff" for letter in text):
        return "has half of a surrogate pair"
    return None


def _word(longest: int, needed: bool = True) -> Callable[[Any], str | None]:
    """A check of a word: an id or an action."""

    def check(value: Any) -> str | None:
        if value is None and not needed:
            return None
        if value is None:
            raise _Wrong("is missing")
        if not isinstance(value, str):
            raise _Wrong(f"is {_called(value)}, not a string")
        if not value or value != value.strip():
            raise _Wrong("has blanks at its ends" if value.strip() else "is empty")
        if len(value) > longest:
            raise _Wrong(f"has {len(value)} characters, more than {longest}")
        if bad := _bad_characters(value):
            raise _Wrong(bad)
        return value

    return check


def _number(value: Any) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise _Wrong(f"is {_called(value)}, not a number")
    if abs(value) > LARGEST_INTEGER if isinstance(value, int) else not math.isfinite(value):
        raise _Wrong("is not a finite number that a computer can hold")
    return float(value)


def _time(value: Any) -> float | None:
    seconds = _number(value)
    if seconds is not None and seconds >= LATEST:
        raise _Wrong("is not in seconds since 1970 but, it seems, in milliseconds")
    if seconds is not None and seconds < 0:
        raise _Wrong("lies before 1970")
    return seconds


def _position(value: Any) -> int | None:
    place = _number(value)
    if place is None:
        return None
    if not 0 <= place <= FARTHEST_POSITION or place != int(place):
        raise _Wrong(f"is not a whole number from 0 to {FARTHEST_POSITION}")
    return int(place)


def _object(longest: int) -> Callable[[Any], dict[str, Any]]:
    """A check of a mapping that is kept as JSON."""

    def check(value: Any) -> dict[str, Any]:
        if value is None:
            return {}
        if not isinstance(value, Mapping):
            raise _Wrong(f"is {_called(value)}, not an object")
        made = _plain(value, DEEPEST)
        size = len(json.dumps(made, ensure_ascii=False).encode())
        if size > longest:
            raise _Wrong(f"takes {size} bytes as JSON, more than {longest}")
        return made

    return check


def _plain(value: Any, levels: int) -> Any:
    """A value as what JSON has: nothing that is not finite, too deep, or text that no database keeps."""
    if isinstance(value, str):
        if bad := _bad_characters(value):
            raise _Wrong(bad)
        return value
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, (int, float)):
        if not math.isfinite(value) if isinstance(value, float) else abs(value) > LARGEST_INTEGER:
            raise _Wrong("has a number that is not finite, or too large")
        return value
    if levels == 0:
        raise _Wrong(f"is nested deeper than {DEEPEST} levels")
    if isinstance(value, Mapping):
        if not all(isinstance(name, str) for name in value):
            raise _Wrong("has a name that is not a string")
        return {_plain(name, levels): _plain(one, levels - 1) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(one, levels - 1) for one in value]
    raise _Wrong("has a value that JSON does not know")


_EVENT: dict[str, Callable[[Any], Any]] = {
    "event_id": _word(LONGEST_ID, needed=False),
    "user_id": _word(LONGEST_ID),
    "item_id": _word(LONGEST_ID),
    "action": _word(LONGEST_ACTION),
    "value": _number,
    "timestamp": _time,
    "slate_id": _word(LONGEST_ID, needed=False),
    "position": _position,
    "context": _object(LONGEST_CONTEXT),
}
"""The fields of an event, each with its check."""
