"""Whether all is still as it was, over HTTP: slates and how they were answered to, and the latest look for drift."""

from __future__ import annotations

import asyncio
import dataclasses
import math
import time
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Literal

from fastapi import Query, Request, Response
from pydantic import Field

from genre.serve import watched
from genre.serve.caches import Cache
from genre.serve.guard import router
from genre.serve.problems import unfit
from genre.serve.routes_slates import answered, service_of
from genre.serve.shapes import Id, Told
from genre.serve.traffic import SECONDS, Window, traffic
from genre.store.traffic import By

watching = router("read", "service", (404, 409))
FRESH = 20.0
"""Seconds for which a count is answered again: to count a million slates takes seconds."""
KEPT = 32
MOST = {"hour": 14, "day": 366}
"""Most days that may be asked for, by window."""


class TrafficRow(Told):
    """Some slates, and how they were answered to."""

    since: float | None = Field(description="When the window began, UTC seconds; null for all windows together.")
    model: str | None = Field(description="Name and version, where asked by model.")
    rung: str | None = Field(description="Where asked by rung; null too for slates that do not say.")
    experiment: str | None = Field(description="Where asked by arm; that of a policy is called explore:...")
    arm: str | None
    users: int = Field(description="Users who had a slate; each slate for nobody in particular counts as one.")
    slates: int
    answered: int = Field(description="Slates that at least one event of the actions names.")
    rate: float = Field(description="Answered, of the slates: the click-through rate.")
    ci95: tuple[float, float] | None = Field(description="95 % interval over users; null for fewer than two.")


class TrafficReply(Told):
    """How many slates there were, and how many of them were answered to."""

    by: Literal["all", "model", "rung", "arm"]
    window: Literal["hour", "day"]
    since: float = Field(description="From when on slates count, UTC seconds.")
    until: float = Field(description="When they were counted, UTC seconds.")
    actions: list[str] = Field(description="Actions that count; empty for any but a skip.")
    totals: list[TrafficRow] = Field(description="All windows together. Empty where there are no slates.")
    rows: list[TrafficRow] = Field(description="By window, oldest first; windows without slates are left out.")


class DriftRow(Told):
    """What one detector says of one thing that it watches."""

    watched: str
    detector: str
    alarm: bool | None = Field(description="null where there was too little to judge by.")
    why: str
    before: int = Field(description="Values that say what is normal.")
    now: int = Field(description="Values that were judged.")
    statistic: float | None = None
    threshold: float | None = Field(default=None, description="Above which the statistic is an alarm.")
    people: list[str] | None = Field(default=None, description="Users who stand out.")
    at: list[Any] | None = Field(default=None, description="Where in a stream it changed.")


class DriftReply(Told):
    """The latest look for drift."""

    model: str
    made: float = Field(description="When it was looked at, UTC seconds.")
    since: float = Field(description="From when on events were judged, UTC seconds.")
    days: float
    events: int = Field(description="Events that were judged.")
    normal: str = Field(description="What they were compared with: the store before then, or the log of the run.")
    drifting: list[str] = Field(description="What drifts, by name.")
    words: str = Field(description="The same as a sentence, with the reasons.")
    rows: list[DriftRow]


class Counts:
    """Counts of late; one is made at a time, as each reads much of the store."""

    def __init__(self) -> None:
        self._kept: Cache[Any, tuple[float, dict[str, Any]]] = Cache(KEPT)
        self._lock = asyncio.Lock()

    async def get(self, key: Any, count: Callable[[], Awaitable[dict[str, Any]]]) -> dict[str, Any]:
        """What was counted under a key just now, else what ``count`` counts."""
        body = self._fresh(key)
        if body is None:
            async with self._lock:
                body = self._fresh(key)  # another may have counted it meanwhile
                if body is None:
                    body = await count()
                    self._kept.put(key, (time.monotonic(), body))
        return body

    def _fresh(self, key: Any) -> dict[str, Any] | None:
        at, body = self._kept.get(key) or (-math.inf, {})
        return body if time.monotonic() - at <= FRESH else None


@watching.get("/traffic", response_model=TrafficReply)
async def traffic_(
    request: Request,
    by: Annotated[By, Query(description="What tells slates apart. arm: of experiments and the policy.")] = "all",
    window: Annotated[Window, Query(description="Of UTC.")] = "hour",
    days: Annotated[int, Query(ge=1, le=366, description="How far back; 14 at most by hour.")] = 1,
    action: Annotated[
        list[Id] | None, Query(max_length=20, description="Actions that count as an answer; without, any but a skip.")
    ] = None,
) -> Response:
    """How many slates there were, and the share that was answered to, with its interval.

    The first window is whole. What was counted within the last twenty seconds is answered again.
    """
    if days > MOST[window]:
        raise unfit("days", f"is {days}; by {window} at most {MOST[window]} are counted")
    service, actions = service_of(request), sorted(set(action or ()))

    async def count() -> dict[str, Any]:
        until = time.time()
        since = (until - 86400.0 * days) // SECONDS[window] * SECONDS[window]
        totals, rows = await service.in_thread(traffic, service.store, by, window, since, until, actions)
        facts = {"by": by, "window": window, "since": since, "until": until, "actions": actions}
        told = {"totals": totals, "rows": rows}
        return {**facts, **{name: [dataclasses.asdict(one) for one in some] for name, some in told.items()}}

    counts: Counts = request.app.state.counts
    return answered(await counts.get((by, window, days, *actions), count))


@watching.get("/drift", response_model=DriftReply)
async def drift(request: Request) -> Response:
    """The latest look for drift of the model that answers. 404 where nobody has looked yet."""
    service = service_of(request)
    found = await service.in_thread(watched.drift, service.models.active.folder)
    body = {name: found.get(name) for name in DriftReply.model_fields}
    body["rows"] = [{name: row.get(name) for name in DriftRow.model_fields} for row in found["rows"]]
    return answered(body)
