"""Look whether what comes in and goes out is still what it was."""

from __future__ import annotations

from typing import Any

from genre.jobs import RUN, Setting, Work

SETTINGS = {
    "run": RUN,
    "days": Setting("number", "The newest days that are judged; what came before is what is normal.", "7"),
    "clicks": Setting("names", "Actions that count as clicks.", "any but a skip"),
}


def do(work: Work) -> dict[str, Any]:
    """Watch the newest ``days`` of the payload; ``clicks`` are the actions that count as such."""
    from genre.refresh.driftwatch import watch
    from genre.run import Run

    days, clicks = work.of("days", 7), work.of("clicks", [])
    found = watch(Run.open(work.run()), work.store, float(days), clicks)
    alarms = [f"{row['watched']}: {row['why']}" for row in found["rows"] if row["alarm"]]
    return {"alarms": len(alarms), "told": found["told"], "what": alarms[:10]}
