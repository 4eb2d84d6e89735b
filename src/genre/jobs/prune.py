"""Old slates go, events never do."""

from __future__ import annotations

from typing import Any

from genre.jobs import Setting, Work

DAY = 86400.0
SETTINGS = {"days": Setting("count", "Slates are kept for so many days.", needed=True)}


def do(work: Work) -> dict[str, Any]:
    """Delete the slates that are older than ``days`` of the payload, a few at a time. The audit has how many."""
    from genre.store.pruning import prune

    before = work.store.access.clock() - work.payload["days"] * DAY
    gone = prune(work.store.access, before, "worker", lambda n: work.tell({"slates": n}))
    return {"slates": gone, "before": before}
