"""Errors as the client sees them: problem+json (RFC 9457) that names the field and what mends it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from pydantic_core import to_json
from starlette.exceptions import HTTPException
from starlette.routing import Match

TITLES = {
    400: "The request cannot be understood",
    401: "A key is needed",
    403: "The key does not allow this",
    404: "Not found",
    405: "Not for this address",
    408: "The request came too slowly",
    409: "Not in this state",
    413: "The request is too large",
    415: "The body is not JSON",
    422: "The request does not fit",
    429: "Too many requests",
    500: "Our fault",
    503: "Not now",
}
MEDIA = "application/problem+json"
BOUNDS = ("ge", "gt", "le", "lt", "min_length", "max_length", "expected")
"""What a mistake's values may be: what the schema asks for."""
NOTHING: Mapping[str, Any] = MappingProxyType({})


class Mistake(BaseModel):
    """One mistake of a request."""

    field: str = Field(description="Where it is, as in items.0.item_id; empty for the whole.")
    mend: str = Field(description="What would be right.")
    code: str = Field(default="", description="Names the mistake for programs; empty for one that has no name.")
    values: dict[str, Any] = Field(default={}, description="What belongs to the code.")


class Problem(BaseModel):
    """What went wrong."""

    type: str = Field(default="about:blank", description="Always about:blank: the status says the kind.")
    title: str
    status: int
    detail: str = Field(description="What happened and what mends it.")
    code: str = Field(default="", description="Names the error for programs; empty for one that has no name.")
    values: dict[str, Any] = Field(default={}, description="What belongs to the code, such as a name.")
    errors: list[Mistake] = Field(default=[], description="Each mistake by its field.")
    request_id: str = Field(default="", description="The request's number in the log.")


class Refused(Exception):
    """A request that is answered by a problem."""

    def __init__(
        self,
        status: int,
        detail: str,
        errors: Sequence[Mistake] = (),
        retry_after: float | None = None,
        headers: dict[str, str] | None = None,
        code: str = "",
        values: Mapping[str, Any] = NOTHING,
    ) -> None:
        super().__init__(detail)
        self.status, self.detail, self.errors = status, detail, list(errors)
        self.headers, self.code, self.values = dict(headers or {}), code, values
        if retry_after is not None:
            self.headers["Retry-After"] = str(max(1, round(retry_after)))


def unfit(field: str, mend: str, code: str = "", **values: Any) -> Refused:
    """A 422 about one field."""
    return Refused(422, f"{field}: {mend}", [Mistake(field=field, mend=mend, code=code, values=values)])


def reply(refused: Refused, request_id: str = "") -> Response:
    """The problem as a response."""
    problem = Problem(
        title=TITLES.get(refused.status, "Error"),
        status=refused.status,
        detail=refused.detail,
        code=refused.code,
        values=dict(refused.values),
        errors=refused.errors,
        request_id=request_id,
    )
    return Response(to_json(problem), refused.status, refused.headers, MEDIA)


def request_id_of(request: Request) -> str:
    """The number that the request was given."""
    return request.scope.get("state", {}).get("request_id", "")


async def on_refused(request: Request, error: Exception) -> Response:
    """The reply to a request that was refused."""
    assert isinstance(error, Refused)
    return reply(error, request_id_of(request))


async def on_invalid(request: Request, error: Exception) -> Response:
    """The reply to a request that does not fit its schema: every field that is wrong."""
    assert isinstance(error, RequestValidationError)
    mistakes = [
        Mistake(field=_place(one["loc"]), mend=_mend(one), code=f"value.{one['type']}", values=_values(one))
        for one in error.errors()[:20]
    ]
    named = "; ".join(f"{one.field}: {one.mend}" if one.field else one.mend for one in mistakes[:3])
    return reply(Refused(422, named, mistakes), request_id_of(request))


async def on_http(request: Request, error: Exception) -> Response:
    """The reply to what the framework itself refuses."""
    assert isinstance(error, HTTPException)
    detail = error.detail if isinstance(error.detail, str) else TITLES.get(error.status_code, "Error")
    if error.status_code == 404 and detail == "Not Found":
        detail = f"no such address: {request.url.path}; GET /v1/openapi.json lists them"
    headers = dict(error.headers or {})
    if error.status_code == 405:
        headers["Allow"] = ", ".join(_methods(request))
        detail = f"{request.method} is not for {request.url.path}; {headers['Allow']} are"
    return reply(Refused(error.status_code, detail, headers=headers), request_id_of(request))


def _methods(request: Request) -> list[str]:
    """The methods that any route has for the address of a request."""
    found: set[str] = set()
    for route in request.app.state.routes:
        if route.matches(request.scope)[0] is not Match.NONE:
            found |= set(getattr(route, "methods", None) or ())
    return sorted(found)


def _place(loc: Sequence[Any]) -> str:
    return ".".join(str(part) for part in loc if part not in ("body", "query", "path"))


def _values(error: Any) -> dict[str, Any]:
    """What is asked for; never what the client sent."""
    return {name: value for name, value in (error.get("ctx") or {}).items() if name in BOUNDS}


def _mend(error: Any) -> str:
    """Pydantic's text without what the client sent, which may be long or secret."""
    return str(error["msg"]).removeprefix("Value error, ")
