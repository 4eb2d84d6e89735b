"""The service itself over HTTP: health, metrics, keys, jobs, audit."""

from __future__ import annotations

import dataclasses
import time
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query, Request, Response

from genre.serve.adminshapes import DeedPage, JobPage, JobReply, KeyList, KeyReply, KeyRequest, Live, NewKey, Ready
from genre.serve.guard import router
from genre.serve.routes_records import Cursor, Limit
from genre.serve.routes_slates import answered, service_of
from genre.serve.shapes import Id
from genre.store.records import Job, Key

health = APIRouter(prefix="/v1/health", tags=["service"])
metering = router("read", "service")
watching = router("admin", "service", (404, 409))


@health.get("/live", response_model=Live)
async def live() -> Response:
    """Whether the process answers."""
    return answered({"live": True})


@health.get("/ready", response_model=Ready, responses={503: {"model": Ready, "description": "Not ready"}})
async def ready(request: Request) -> Response:
    """Whether requests are answered. A store that is away does not end that: slates go on, and say so."""
    service = service_of(request)
    model = service.models.active
    body = {
        "ready": not service.draining,
        "model": model.folder.name,
        "version": model.version,
        "store": service.store_problem,
        "moderation": service.moderation.problem,
        "draining": service.draining,
        "waiting": len(service.engine.inference),
        "up_seconds": round(time.time() - service.started, 1),
    }
    return answered(body, 503 if service.draining else 200)


@metering.get(
    "/metrics",
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}, "description": "Prometheus text"}},
)
async def metrics(request: Request) -> Response:
    """Counters and histograms, as Prometheus reads them."""
    text = service_of(request).measures.text()
    return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")


def _key(key: Key) -> dict[str, Any]:
    plain = dataclasses.asdict(key)
    plain.pop("hash")
    return plain


@watching.get("/keys", response_model=KeyList)
async def keys(request: Request) -> Response:
    """All keys, without their tokens, which nobody knows."""
    service = service_of(request)
    rows = await service.in_thread(service.store.keys.list)
    return answered({"rows": [_key(one) for one in rows]})


@watching.post("/keys", response_model=NewKey, status_code=201)
async def add_key(request: Request, asked: KeyRequest) -> Response:
    """A new key; its token is in this reply and never again. From the first key on, every request needs one."""
    service = service_of(request)
    limits = {name: float(value) for name in ("per_second", "per_day") if (value := getattr(asked, name)) is not None}
    key, token = await service.settle(
        request.scope["state"]["who"],
        "key.add",
        asked.name,
        lambda: service.store.keys.add(asked.name, asked.scope, limits=limits, expires=asked.expires),
        scope=asked.scope,
    )
    return answered({**_key(key), "token": token}, 201)


@watching.delete("/keys/{key_id}", response_model=KeyReply)
async def revoke_key(request: Request, key_id: Annotated[Id, Path()]) -> Response:
    """Let a key in no more, at once."""
    service = service_of(request)
    who = request.scope["state"]["who"]
    key = await service.settle(who, "key.revoke", key_id, lambda: service.store.keys.revoke(key_id))
    return answered(_key(key))


def _job(job: Job) -> dict[str, Any]:
    names = JobReply.model_fields
    return {name: value for name, value in dataclasses.asdict(job).items() if name in names}


@watching.get("/jobs", response_model=JobPage)
async def jobs(
    request: Request,
    state: Annotated[Literal["queued", "running", "done", "failed", "cancelled"] | None, Query()] = None,
    cursor: Cursor = None,
    limit: Limit = 100,
) -> Response:
    """Work for the worker, newest first."""
    service = service_of(request)
    page = await service.in_thread(service.store.jobs.list, state, cursor, limit)
    return answered({"rows": [_job(one) for one in page.rows], "cursor": page.cursor})


@watching.get("/jobs/{number}", response_model=JobReply)
async def job(request: Request, number: Annotated[int, Path(ge=1, le=2**53)]) -> Response:
    """One job, with its progress and result."""
    service = service_of(request)
    return answered(_job(await service.in_thread(service.store.jobs.get, number)))


@watching.post("/jobs/{number}/cancel", response_model=JobReply)
async def cancel(request: Request, number: Annotated[int, Path(ge=1, le=2**53)]) -> Response:
    """Cancel a job that is not finished."""
    service = service_of(request)
    who = request.scope["state"]["who"]
    return answered(
        _job(await service.settle(who, "job.cancel", str(number), lambda: service.store.jobs.cancel(number)))
    )


@watching.get("/audit", response_model=DeedPage)
async def audit(
    request: Request,
    action: Annotated[str | None, Query(max_length=100)] = None,
    cursor: Cursor = None,
    limit: Limit = 100,
) -> Response:
    """Who did what to what, newest first."""
    service = service_of(request)
    return answered(dataclasses.asdict(await service.in_thread(service.store.audit.list, cursor, limit, action)))
