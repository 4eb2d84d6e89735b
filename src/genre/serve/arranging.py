"""From a ranked list to what is shown: pinned items in their places, and items from the reserve for what is lacking."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from genre.types import Candidate

Shown = dict[str, Any]
"""An item of a reply, as plain data."""


@dataclass(frozen=True)
class Pin:
    """An item that moderation wants to have at a place, 1 the first."""

    item_id: str
    place: int


@dataclass
class Arranged:
    """What is shown, in order."""

    items: list[Shown]
    filled: int = 0
    """How many came from the reserve."""


def shown(candidate: Candidate) -> Shown:
    """A candidate as a reply has it."""
    predictions = {head: _finite(value) for head, value in candidate.predictions.items()}
    return {
        "item_id": candidate.item_id,
        "score": _finite(candidate.score),
        "origin": "ranked",
        "sources": candidate.sources,
        "predictions": predictions,
    }


def arrange(ranked: Sequence[Shown], pins: Sequence[Pin], reserve: Iterable[str], k: int) -> Arranged:
    """At most ``k`` items: the ranked ones, pinned ones put in at their places, the rest from the ``reserve``."""
    pinned = {pin.item_id: pin for pin in pins}
    items = [one for one in ranked if one["item_id"] not in pinned][:k]
    by_id: Mapping[str, Shown] = {one["item_id"]: one for one in ranked if one["item_id"] in pinned}
    for pin in sorted(pins, key=lambda pin: pin.place):
        if pin.place <= k:
            one = {**by_id.get(pin.item_id, _bare(pin.item_id)), "origin": "pinned"}
            # It stands there for the moderators' sake, not for that of the model that ranked it.
            one.pop("team", None)
            items.insert(min(pin.place - 1, len(items)), one)
    items = items[:k]
    had, filled = {one["item_id"] for one in items}, 0
    if len(items) < k:
        for item in reserve:
            if item not in had:
                items.append({**_bare(item), "origin": "reserve"})
                filled += 1
            if len(items) == k:
                break
    return Arranged(items, filled)


def _bare(item: str) -> Shown:
    return {"item_id": item, "score": None, "origin": "reserve", "sources": {}, "predictions": {}}


def _finite(value: float) -> float | None:
    return value if value - value == 0 else None
