"""What the service counts, read from its metrics again and again: rates, times, and what is wrong."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

KEPT = 720
"""Readings that are kept: an hour at one every five seconds."""
APART = 4.0
"""Seconds that two readings are at least apart."""
SLATES = "/v1/recommend"
MANY_DEGRADED = 0.05
"""Share of slates that are not whole, above which it is an alarm."""
ENOUGH = 20
"""Slates in the window below which no share of them is an alarm."""

Labels = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Reading:
    """All counters at one time."""

    at: float
    values: Mapping[tuple[str, Labels], float]

    def total(self, name: str, **labels: str) -> float:
        """The sum of a counter over all labels but those given."""
        wanted = set(labels.items())
        return sum(v for (n, found), v in self.values.items() if n == name and wanted <= set(found))

    def by(self, name: str, label: str) -> dict[str, float]:
        """The sum of a counter by one of its labels."""
        sums: dict[str, float] = {}
        for (n, found), value in self.values.items():
            if n == name and (key := dict(found).get(label)) is not None:
                sums[key] = sums.get(key, 0.0) + value
        return sums

    def less(self, before: Reading) -> Reading:
        """What was counted since; a counter that went back was begun anew."""
        since = {}
        for key, value in self.values.items():
            old = before.values.get(key, 0.0)
            since[key] = value - old if value >= old else value
        return Reading(self.at - before.at, since)


def reading(text: str, at: float) -> Reading:
    """The metrics of the service as a reading."""
    from prometheus_client.parser import text_string_to_metric_families

    values: dict[tuple[str, Labels], float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if not sample.name.endswith("_created"):
                values[sample.name, tuple(sorted(sample.labels.items()))] = sample.value
    return Reading(at, values)


def quantile(found: Reading, share: float, route: str = SLATES) -> float | None:
    """Seconds within which a share of the requests was answered, between the bounds of the histogram; None for none."""
    steps = sorted(
        (float(dict(labels)["le"]), value)
        for (name, labels), value in found.values.items()
        if name == "genre_request_seconds_bucket" and dict(labels)["route"] == route
    )
    if not steps or steps[-1][1] <= 0:
        return None
    wanted, low, below = share * steps[-1][1], 0.0, 0.0
    for bound, count in steps:
        if count >= wanted:
            if math.isinf(bound):
                return low
            return low + (bound - low) * (wanted - below) / max(count - below, 1e-9)
        low, below = bound, count
    return low


@dataclass
class Watcher:
    """The readings of late, of whoever may read them."""

    readings: deque[Reading] = field(default_factory=lambda: deque(maxlen=KEPT))

    def add(self, text: str) -> Reading:
        """Take a reading; one that follows too soon takes the place of the one before."""
        new = reading(text, time.time())
        if len(self.readings) > 1 and new.at - self.readings[-2].at < APART:
            self.readings.pop()
        self.readings.append(new)
        return new

    def series(self, value: Callable[[Reading], float | None]) -> list[tuple[float, float | None]]:
        """A value of what was counted between each two readings, with its time."""
        pairs = zip(self.readings, list(self.readings)[1:], strict=False)
        return [(after.at, value(after.less(before))) for before, after in pairs]

    def window(self, seconds: float = 300.0) -> Reading | None:
        """What was counted in the last seconds; None before there are two readings."""
        if len(self.readings) < 2:
            return None
        last = self.readings[-1]
        first = next(one for one in self.readings if last.at - one.at <= seconds)
        return last.less(first) if first is not last else last.less(self.readings[-2])


@dataclass(frozen=True)
class Alarm:
    """Something that should be looked at: the key of its words, and what goes into them."""

    name: str
    tone: str
    values: dict[str, Any] = field(default_factory=dict)


def alarms(ready: Mapping[str, Any], now: Reading, late: Reading | None, models: Iterable[Any]) -> list[Alarm]:
    """What is wrong: of the service's own health, its counters since it was started, and those of late."""
    found = []
    if ready.get("store"):
        found.append(Alarm("store", "bad", {"why": ready["store"]}))
    if ready.get("moderation"):
        found.append(Alarm("moderation", "bad", {"why": ready["moderation"]}))
    if ready.get("draining"):
        found.append(Alarm("draining", "warn"))
    if lost := now.total("genre_slates_lost_total"):
        found.append(Alarm("lost", "bad", {"n": int(lost)}))
    if late is not None:
        found += _of_late(late)
    for one in models:
        if one["state"] == "failed":
            found.append(Alarm("model_failed", "warn", {"name": one["name"], "why": one["problem"] or ""}))
        if one["state"] == "active" and one["gate"]["passed"] is False:
            found.append(Alarm("gate", "bad", {"name": one["name"], "why": one["gate"]["why"]}))
    return found


def _of_late(late: Reading) -> list[Alarm]:
    found = []
    statuses = late.by("genre_requests_total", "status")
    if failed := sum(count for status, count in statuses.items() if status.startswith("5")):
        found.append(Alarm("failing", "bad", {"n": int(failed)}))
    slates = late.total("genre_slates_total")
    whole = late.total("genre_slates_total", rung="full")
    if slates >= ENOUGH and (share := 1 - whole / slates) > MANY_DEGRADED:
        found.append(Alarm("degraded", "warn", {"share": f"{share:.0%}"}))
    if late.by("genre_degraded_total", "reason").get("experiment_model_missing"):
        found.append(Alarm("arm", "warn"))
    return found
