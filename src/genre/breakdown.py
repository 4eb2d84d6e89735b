"""What a clock heard of the stages, as numbers to compare: shares, operations a second, what the whole run takes."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psutil

from genre.clock import REST, Clock, Part
from genre.scaling import Scale

Rates = dict[str, dict[str, tuple[float, float]]]
"""By stretch and part: operations a call, and a place (a token, padding included); 0 where these were not counted."""

LEARNED = ("trained layers", "backward, layers")
"""Parts that compute in `train.precision`, in the phases of training."""
OTHER = "other"
AMOUNTS = ("texts", "tokens", "places", "read", "written")
MOST_BARS = 4
"""Parts of a stretch that a bar tells apart."""


@contextmanager
def peaks(clock: Clock, interval: float = 0.02) -> Iterator[dict[str, float]]:
    """The most memory that this process had while each stretch ran, in MB."""
    process, stop = psutil.Process(), threading.Event()
    highest: dict[str, float] = {}

    def watch() -> None:
        while not stop.wait(interval):
            name = clock.stretch
            highest[name] = max(highest.get(name, 0.0), process.memory_info().rss / 2**20)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield highest
    finally:
        stop.set()
        thread.join()


def rates_of(clock: Clock) -> Rates:
    """How many operations each part that was counted takes."""
    return {
        stretch: {
            name: (part.counted / part.calls, part.counted / part.amounts["places"] if _placed(part) else 0.0)
            for name, part in parts.items()
            if part.calls
        }
        for stretch, parts in clock.stretches.items()
    }


def breakdown(
    clock: Clock, rates: Rates, scale: Scale, peak: tuple[float, float], memory: dict[str, float]
) -> dict[str, Any]:
    """Each stretch with its parts, the longest first; what no part was named for is `OTHER`.

    ``peak`` is the most operations a second: of all, and of the language model while it learns.
    """
    found: dict[str, Any] = {}
    for stretch, parts in clock.stretches.items():
        total = sum(part.seconds for part in parts.values())
        rows = []
        for name, part in sorted(parts.items(), key=lambda one: -one[1].seconds):
            counted = part.counted or _counted(part, rates.get(stretch, {}).get(name))
            flops = counted / part.seconds if part.seconds else 0.0
            rows.append(
                {
                    "part": OTHER if name == REST else name,
                    "seconds": part.seconds,
                    "share": part.seconds / total if total else 0.0,
                    "calls": part.calls,
                    "flop": counted,
                    "flops": flops,
                    "of_peak": flops / peak[name in LEARNED and stretch in scale.epochs],
                    "whole_seconds": part.seconds * scale.factor(stretch, name, part),
                    **{name: part.amounts[name] for name in AMOUNTS if name in part.amounts},
                }
            )
        found[stretch] = {
            "seconds": total,
            "whole_seconds": sum(row["whole_seconds"] for row in rows),
            "peak_mb": round(memory.get(stretch, 0.0)),
            "parts": rows,
        }
    return found


def _counted(part: Part, rate: tuple[float, float] | None) -> float:
    """Operations of a part, from what a few calls of it took."""
    if rate is None:
        return 0.0
    call, place = rate
    return place * part.amounts["places"] if place and _placed(part) else call * part.calls


def _placed(part: Part) -> bool:
    return part.amounts.get("places", 0.0) > 0


def bars(stretches: dict[str, Any]) -> dict[str, list[tuple[str, float]]]:
    """The longest parts of each stretch and their seconds, the rest as one."""
    found: dict[str, list[tuple[str, float]]] = {}
    for name, stretch in stretches.items():
        named = [(row["part"], row["seconds"]) for row in stretch["parts"] if row["part"] != OTHER]
        rest = stretch["seconds"] - sum(seconds for _, seconds in named[:MOST_BARS])
        found[name] = [*named[:MOST_BARS], ("the rest", rest)]
    return found
