"""Searches of run folders beside the served one, over HTTP: how far each is, and what it has found so far."""

from __future__ import annotations

from typing import Any, Literal

from fastapi import Request, Response
from pydantic import Field

from genre.search.snapshot import snapshots
from genre.serve.guard import router
from genre.serve.routes_slates import answered, service_of
from genre.serve.shapes import Told

looking = router("read", "models", ())


class Best(Told):
    """The best trial by the first objective."""

    number: int
    values: dict[str, float] = Field(description="By objective.")
    chosen: dict[str, Any] = Field(description="What it takes of the values that the file leaves open.")


class SearchRow(Told):
    """One search."""

    run: str = Field(description="The run folder that it is in.")
    name: str
    doing: Literal["trials", "leaders", "test", "ended"] = Field(description="leaders: trained again with new seeds.")
    alive: bool = Field(description="Whether it has said anything within the last minute, and has not ended.")
    at: float = Field(description="When it said so, UTC seconds.")
    objectives: dict[str, bool] = Field(description="Each with whether larger is better; the first decides.")
    budget: int = Field(description="Trials that it may have.")
    done: int
    pruned: int = Field(description="Stopped early.")
    failed: int
    running: int
    left: int = Field(description="Trials that have not come to an end.")
    seconds_left: float | None = Field(description="Of all that is left; null where that is not known.")
    best_so_far: list[tuple[int, float]] = Field(description="Of each trial that was finished its place, and the best.")
    best: Best | None


class SearchesReply(Told):
    """All searches, the latest first."""

    rows: list[SearchRow]


@looking.get("/searches", response_model=SearchesReply)
async def searches(request: Request) -> Response:
    """The searches of the runs beside the one that the service was started with, as they last told of themselves."""
    service = service_of(request)
    return answered({"rows": await service.in_thread(snapshots, service.models.home)})
