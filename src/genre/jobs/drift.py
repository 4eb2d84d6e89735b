"""Look whether what comes in and goes out is still what it was."""

from __future__ import annotations

from typing import Any

from genre.jobs import Unfit, Work


def do(work: Work) -> dict[str, Any]:
    """Watch the newest ``days`` of the payload; ``clicks`` are the actions that count as such."""
    from genre.refresh.driftwatch import watch
    from genre.run import Run

    days, clicks = work.payload.get("days", 7), work.of("clicks", [], list)
    if isinstance(days, bool) or not isinstance(days, (int, float)) or days <= 0:
        raise Unfit(f"payload: days is {days!r}, no number above 0")
    found = watch(Run.open(work.run()), work.store, float(days), clicks)
    alarms = [f"{row['watched']}: {row['why']}" for row in found["rows"] if row["alarm"]]
    return {"alarms": len(alarms), "told": found["told"], "what": alarms[:10]}
