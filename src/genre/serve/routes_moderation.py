"""Moderation over HTTP: what may not be shown, what stands first, and what somebody should look at."""

from __future__ import annotations

import dataclasses
from typing import Annotated

from fastapi import Path, Query, Request, Response

from genre.serve.adminshapes import (
    DecideRequest,
    DecisionPage,
    DecisionReply,
    OutcomeRequest,
    ReportRequest,
    ReviewPage,
    ReviewReply,
    WhyRequest,
)
from genre.serve.guard import router
from genre.serve.moderated import conditions
from genre.serve.problems import unfit
from genre.serve.routes_records import Cursor, Limit
from genre.serve.routes_slates import answered, service_of
from genre.serve.service import Service
from genre.serve.shapes import Id
from genre.store.faults import NotFound

reading = router("read", "moderation")
reporting = router("write", "moderation", (404,))
deciding = router("admin", "moderation", (404, 409))
Number = Annotated[int, Path(ge=1, le=2**53)]


@deciding.post("/moderation/decisions", response_model=DecisionReply, status_code=201)
async def decide(request: Request, asked: DecideRequest) -> Response:
    """Hide or pin an item, or block all that a rule matches; in force at once.

    Pinned items stand first in every slate, in the order in which they were pinned.
    """
    service, who = service_of(request), request.scope["state"]["who"]
    model = service.models.active
    if asked.verdict == "pin" and asked.item_id is not None:
        await _insist_on_known(service, asked.item_id)
    if asked.rule is not None and model.pipeline is not None:
        names = service.moderation.now.columns(model).names()
        for condition in conditions(asked.rule):
            if condition.column not in names:
                raise unfit("rule", f"the items have no column '{condition.column}'; they have {', '.join(names)}")
    decision = await service.settle(
        who,
        f"moderation.{asked.verdict}",
        asked.item_id or "rule",
        lambda: service.store.moderation.decide(
            asked.verdict, who, asked.why, item_id=asked.item_id, rule=asked.rule, until=asked.until
        ),
        why=asked.why,
    )
    return answered(dataclasses.asdict(decision), 201)


async def _insist_on_known(service: Service, item_id: str) -> None:
    """Raises `NotFound` for an item that nobody knows: pinned, it would stand first in every slate for all to see."""
    if item_id in service.models.active.rows:
        return
    if item_id not in await service.in_thread(service.store.items.get, [item_id]):
        raise NotFound(f"neither the store nor the model knows an item '{item_id}'").coded("no_item", name=item_id)


@reading.get("/moderation/decisions", response_model=DecisionPage)
async def decisions(
    request: Request,
    item_id: Annotated[Id | None, Query()] = None,
    standing: Annotated[bool, Query(description="Only those in force now.")] = False,
    cursor: Cursor = None,
    limit: Limit = 100,
) -> Response:
    """Decisions, newest first: who, when, why, and how they ended."""
    service = service_of(request)
    if standing:
        rows = await service.in_thread(service.store.moderation.standing)
        found = [one for one in reversed(rows) if item_id is None or one.item_id == item_id]
        return answered({"rows": [dataclasses.asdict(one) for one in found], "cursor": None})
    page = await service.in_thread(service.store.moderation.history, item_id, cursor, limit)
    return answered(dataclasses.asdict(page))


@deciding.post("/moderation/decisions/{number}/release", response_model=DecisionReply)
async def release(request: Request, number: Number, asked: WhyRequest) -> Response:
    """End a decision, at once."""
    service, who = service_of(request), request.scope["state"]["who"]
    decision = await service.settle(
        who,
        "moderation.release",
        str(number),
        lambda: service.store.moderation.release(number, who, asked.why),
        why=asked.why,
    )
    return answered(dataclasses.asdict(decision))


@reporting.post("/moderation/reviews", response_model=ReviewReply, status_code=201)
async def report(request: Request, asked: ReportRequest) -> Response:
    """Let somebody look at an item; it is shown until somebody decides otherwise."""
    service, who = service_of(request), request.scope["state"]["who"]
    review = await service.in_thread(service.store.moderation.report, asked.item_id, who, asked.why)
    return answered(dataclasses.asdict(review), 201)


@reading.get("/moderation/reviews", response_model=ReviewPage)
async def reviews(request: Request, cursor: Cursor = None, limit: Limit = 100) -> Response:
    """What waits to be looked at, newest first."""
    service = service_of(request)
    return answered(dataclasses.asdict(await service.in_thread(service.store.moderation.queue, cursor, limit)))


@deciding.post("/moderation/reviews/{number}/resolve", response_model=ReviewReply)
async def resolve(request: Request, number: Number, asked: OutcomeRequest) -> Response:
    """Say what came of a review."""
    service, who = service_of(request), request.scope["state"]["who"]
    review = await service.settle(
        who,
        "moderation.resolve",
        str(number),
        lambda: service.store.moderation.resolve(number, who, asked.outcome),
        outcome=asked.outcome,
    )
    return answered(dataclasses.asdict(review))
