"""The application: all routes, what their errors look like, and an OpenAPI that says so."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from importlib.metadata import version
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException

from genre.errors import GenreError, RunError
from genre.serve import (
    gorse,
    problems,
    routes_evaluation,
    routes_jobs,
    routes_models,
    routes_moderation,
    routes_policy,
    routes_records,
    routes_search,
    routes_service,
    routes_slates,
    routes_watching,
)
from genre.serve.batching import Full
from genre.serve.gate import App, Gate
from genre.serve.guard import Guarded
from genre.serve.models import Missing, Unready, Worse
from genre.serve.problems import Refused
from genre.serve.service import Service
from genre.servesection import ServeSection
from genre.store.faults import Conflict, NotFound, Overloaded, StoreError

STATUSES: dict[type[Exception], int] = {
    NotFound: 404,
    Conflict: 409,
    Missing: 404,
    Unready: 409,
    Worse: 409,
    RunError: 409,
    StoreError: 503,
    GenreError: 422,
}
"""What the client hears of an error that tells the user something."""
ROUTERS = (
    routes_slates.asking,
    routes_records.reading,
    routes_records.writing,
    routes_records.erasing,
    routes_moderation.reading,
    routes_moderation.reporting,
    routes_moderation.deciding,
    routes_models.looking,
    routes_evaluation.reading,
    routes_evaluation.settings,
    routes_models.changing,
    routes_models.trying,
    routes_models.setting,
    routes_search.looking,
    routes_policy.reading,
    routes_policy.switching,
    routes_service.health,
    routes_service.metering,
    routes_jobs.queueing,  # before the others, whose {number} would take `kinds` for one
    routes_service.watching,
    routes_watching.watching,
)
STORE_RETRY = 1.0
"""Seconds after which it is worth to ask a store again that did not answer."""


def make(service: Service) -> App:
    """The application of a service, behind its gate."""
    app = FastAPI(
        title="GENRE",
        version=version("genre-recommender"),
        summary="Recommendations with reasons, and feedback that is kept.",
        openapi_url="/v1/openapi.json",
        docs_url=None,
        redoc_url=None,
        lifespan=_lifespan,
        separate_input_output_schemas=False,
    )
    app.state.service, app.state.counts = service, routes_watching.Counts()
    routers = (*ROUTERS, gorse.reading, gorse.writing) if service.settings.gorse else ROUTERS
    for routes in routers:
        app.include_router(routes)
    app.state.routes = [route for routes in routers for route in routes.routes]
    _tell_errors(app)
    app.openapi = lambda: _openapi(app)  # type: ignore[method-assign]
    return Gate(app, service.measures, 1024 * service.settings.body_kb)  # type: ignore[arg-type]


@contextlib.asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    service: Service = app.state.service
    watching = asyncio.create_task(service.watch())
    yield
    watching.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await watching


def _tell_errors(app: FastAPI) -> None:
    app.add_exception_handler(Refused, problems.on_refused)
    app.add_exception_handler(RequestValidationError, problems.on_invalid)
    app.add_exception_handler(HTTPException, problems.on_http)
    for kind in (GenreError, Full, TimeoutError):
        app.add_exception_handler(kind, _on_error)


async def _on_error(request: Request, error: Exception) -> Response:
    """The reply to an error that is not the client's grammar: what is not there, not now, not so."""
    service: Service = request.app.state.service
    if isinstance(error, Overloaded):
        refused = Refused(503, str(error), retry_after=error.retry_after, code="store.busy")
    elif isinstance(error, Full):
        service.measures.refused.labels("queue").inc()
        most = service.settings.queue
        waiting = f"{most} requests wait already; try again soon"
        refused = Refused(503, waiting, retry_after=1, code="queue_full", values={"n": most})
    elif isinstance(error, TimeoutError):
        slow = "this took longer than a request may; try again, or ask for less"
        refused = Refused(503, slow, retry_after=1, code="too_slow")
    else:
        status = next(STATUSES[kind] for kind in type(error).__mro__ if kind in STATUSES)
        retry = STORE_RETRY if status == 503 else None
        code, values = getattr(error, "code", ""), getattr(error, "values", {})
        if not code and isinstance(error, StoreError) and status == 503:
            code = f"store.{error.cause}"
        refused = Refused(status, str(error), retry_after=retry, code=code, values=values)
    return problems.reply(refused, problems.request_id_of(request))


def _openapi(app: FastAPI) -> dict[str, Any]:
    """The schema, with what the guard asks for, and problems as they are sent."""
    if app.openapi_schema is None:
        from fastapi.openapi.utils import get_openapi

        schema = get_openapi(title=app.title, version=app.version, summary=app.summary, routes=app.routes)
        parts = schema.setdefault("components", {})
        parts.setdefault("schemas", {}).pop("HTTPValidationError", None)
        parts["schemas"].pop("ValidationError", None)
        parts["securitySchemes"] = {
            "key": {"type": "http", "scheme": "bearer", "description": "A key with the scope that x-scope names."}
        }
        for route in app.state.routes:
            for method in route.methods if route.include_in_schema else ():
                _complete(schema["paths"][route.path_format][method.lower()], route)
        _limit(schema, app.state.service.settings)
        app.openapi_schema = schema
    return app.openapi_schema


def _complete(operation: dict[str, Any], route: APIRoute) -> None:
    if isinstance(route, Guarded):
        # The second says that without any key in the store none is needed.
        operation["security"] = [{"key": []}, {}]
        operation["x-scope"] = route.scope_needed
    for status, response in operation["responses"].items():
        if int(status) >= 400 and problems.MEDIA in response.get("content", {}):
            response["content"] = {problems.MEDIA: {"schema": {"$ref": "#/components/schemas/Problem"}}}
            response["description"] = problems.TITLES[int(status)]
            if int(status) in (429, 503):
                response["headers"] = {"Retry-After": {"schema": {"type": "string"}, "description": "Seconds."}}


def _limit(schema: dict[str, Any], settings: ServeSection) -> None:
    """What the settings of this service allow."""
    parts = schema["components"]["schemas"]
    parts["RecommendRequest"]["properties"]["k"]["maximum"] = settings.max_k
    parts["EventsRequest"]["properties"]["events"]["maxItems"] = settings.batch
    parts["EntriesRequest"]["properties"]["rows"]["maxItems"] = settings.batch
    for parameter in schema["paths"]["/v1/items/{item_id}/similar"]["get"]["parameters"]:
        if parameter["name"] == "k":
            parameter["schema"]["maximum"] = settings.max_k
