"""A table of ways to do one thing: measured in turn, told by medians and ranges."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Way:
    """One way to do what the table is about."""

    name: str
    run: Callable[[], float]
    """Do it once; the seconds that count."""
    repeats: int | None = None
    """Times that it is done at most; the table's own number where it is None."""


def measure(ways: Sequence[Way], repeats: int) -> list[dict[str, Any]]:
    """Seconds of every way, all of them in turn within each repeat, after a first time that does not count."""
    seconds: list[list[float]] = [[] for _ in ways]
    for repeat in range(repeats + 1):
        for way, times in zip(ways, seconds, strict=True):
            allowed = repeats if way.repeats is None else way.repeats
            # What is done once has no time to spare for a first time that does not count.
            if repeat > allowed or (repeat == 0 and allowed < repeats):
                continue
            found = way.run()
            if repeat > 0:
                times.append(found)
    return [
        {"way": way.name, "seconds": statistics.median(times), "range": [min(times), max(times)], "times": len(times)}
        for way, times in zip(ways, seconds, strict=True)
    ]


def show(title: str, rows: Sequence[dict[str, Any]], unit: float = 1.0, name: str = "s") -> None:
    """Print the rows, each beside the first: how many times as long it takes."""
    print(f"{title}\n{name:>12} {'range':>22} {'ratio':>9}")
    for row in rows:
        low, high = (one * unit for one in row["range"])
        ratio = row["seconds"] / rows[0]["seconds"]
        print(f"{row['seconds'] * unit:12.3f} {f'{low:.3f} - {high:.3f}':>22} {ratio:8.1f}x  {row['way']}")
