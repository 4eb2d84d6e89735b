"""Who may ask for what: keys, scopes, rates; and how a body becomes JSON without harm."""

from __future__ import annotations

import ipaddress
import json
import re
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from fastapi import APIRouter, Request, Response
from fastapi.routing import APIRoute
from pydantic_core import from_json

from genre.errors import GenreError
from genre.serve.buckets import Buckets
from genre.serve.measures import Measures
from genre.serve.problems import Refused
from genre.servesection import ServeSection
from genre.store.records import Key, Scope

STRINGS = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)
NO_KEY = "send a key, as in Authorization: Bearer TOKEN; 'genre store key add' makes one"
LOCAL = "this machine"
"""Who acts where no key is needed."""


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


@dataclass
class Guard:
    """Lets requests in, or says why not. Used by the event loop alone."""

    settings: ServeSection
    measures: Measures
    ring: Any = None
    """The store's keys, as they were last read."""
    needed: bool = True
    """Whether a key is needed; on a loopback address none is, as long as there never was one."""
    _buckets: Buckets = field(default_factory=Buckets)

    def insist_on_keys(self, keys: int) -> None:
        """Raises `GenreError` where others can reach the address and there is no key."""
        if not is_loopback(self.settings.host) and not keys:
            raise GenreError(
                f"serve.host is {self.settings.host}, which others can reach, and there is no key; make one with "
                "'genre store key add RUN NAME --scope admin', or listen at 127.0.0.1"
            )

    def admit(self, request: Request, scope: Scope) -> None:
        """Note in the request who asks. Raises `Refused`: no key or a wrong one, one for less, or too many requests."""
        key = self._key(request)
        state = request.scope["state"]
        if key is None:
            client = request.client.host if request.client else "unknown"
            self._pace(f"address {client}", {})
            state["who"], state["key_id"] = LOCAL, None
            return
        state["who"], state["key_id"] = key.name, key.key_id
        self._pace(key.key_id, key.limits)
        if not key.allows(scope):
            self._refused("scope")
            why = f"this needs a key with the scope '{scope}'; '{key.name}' has '{key.scope}'"
            values = {"needed": scope, "name": key.name, "scope": key.scope}
            raise Refused(403, why, code="key_scope", values=values)

    def _key(self, request: Request) -> Key | None:
        given = request.headers.get("authorization")
        if given is None and self.settings.gorse and self.needed and "x-api-key" in request.headers:
            given = f"Bearer {request.headers['x-api-key']}"
        if given is None and not self.needed:
            self._insist_on_own_host(request)
            return None
        word, _, token = (given or "").partition(" ")
        key = None
        if word.lower() == "bearer" and token and self.ring is not None:
            key = self.ring.check(token.strip(), time.time())
        if key is None:
            client = request.client.host if request.client else "unknown"
            self._pace(f"without key {client}", {})
            self._refused("key")
            why = NO_KEY if given is None else f"this key is unknown, revoked or has run out; {NO_KEY}"
            code = "key_missing" if given is None else "key_unknown"
            raise Refused(401, why, headers={"WWW-Authenticate": "Bearer"}, code=code)
        return key

    def _insist_on_own_host(self, request: Request) -> None:
        """Without keys a page in a browser must not reach the service by a name that it lets point here."""
        host = request.headers.get("host", "").rpartition(":")[0] or request.headers.get("host", "")
        if not is_loopback(host):
            self._refused("host")
            raise Refused(403, f"without a key only this machine may ask, by 127.0.0.1 or localhost; {NO_KEY}")
        origin = request.headers.get("origin")
        if origin is not None and not is_loopback(re.sub(r"^https?://|:\d+$", "", origin)):
            self._refused("origin")
            raise Refused(403, f"a page of another site may not ask without a key; {NO_KEY}")

    def _pace(self, who: str, limits: dict[str, float]) -> None:
        rate = limits.get("per_second", self.settings.rate)
        burst = max(1.0, min(self.settings.burst, 2 * rate) if "per_second" in limits else self.settings.burst)
        wait = self._buckets.take(who, rate, burst, limits.get("per_day", self.settings.daily))
        if wait:
            self._refused("rate")
            seconds = max(1, round(wait))
            why = f"too many requests; try again in {seconds} s"
            raise Refused(429, why, retry_after=wait, code="too_many", values={"seconds": seconds})

    def _refused(self, reason: str) -> None:
        self.measures.refused.labels(reason).inc()


class JsonRequest(Request):
    """A request whose JSON has no NaN, no half characters, and is not nested without end."""

    async def json(self) -> Any:
        """The body. Raises `json.JSONDecodeError`, which is answered by 422."""
        if not hasattr(self, "_json"):
            body = await self.body()
            deepest: int = self.scope["app"].state.service.settings.depth
            if depth(body, deepest) > deepest:
                raise json.JSONDecodeError(f"nested deeper than {deepest} levels", "", 0)
            try:
                self._json = from_json(body, allow_inf_nan=False)
            except ValueError as error:
                raise json.JSONDecodeError(str(error), "", 0) from error
        return self._json


def depth(body: bytes, enough: int) -> int:
    """How deep a JSON text is nested, without parsing it; some number up to ``enough`` where it cannot be deeper."""
    brackets = body.count(b"[") + body.count(b"{")
    if brackets <= enough:
        return brackets
    letters = np.frombuffer(STRINGS.sub(b"", body), dtype=np.uint8)
    steps = np.isin(letters, (91, 123)).astype(np.int64) - np.isin(letters, (93, 125))
    return int(steps.cumsum().max(initial=0))


class Guarded(APIRoute):
    """A route that is guarded before its body is parsed."""

    scope_needed: ClassVar[Scope] = "read"

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The route's handler behind the guard."""
        handler = super().get_route_handler()

        async def guarded(request: Request) -> Response:
            request.app.state.service.guard.admit(request, self.scope_needed)
            made = JsonRequest(request.scope, request.receive)
            if request.method != "GET":
                # Read here, as the framework would make a 400 of what the gate says of a body.
                await made.body()
            return await handler(made)

        return guarded


class Reads(Guarded):
    """For keys that may read."""


class Writes(Guarded):
    """For keys that may write."""

    scope_needed: ClassVar[Scope] = "write"


class Administers(Guarded):
    """For keys that may do everything."""

    scope_needed: ClassVar[Scope] = "admin"


ROUTES: dict[Scope, type[Guarded]] = {"read": Reads, "write": Writes, "admin": Administers}


def router(scope: Scope, tag: str, further: tuple[int, ...] = (), prefix: str = "/v1") -> APIRouter:
    """Routes under a prefix that need a scope; ``further`` are statuses that they may answer beside those of all."""
    from genre.serve.problems import Problem

    statuses = (401, 403, 408, 413, 422, 429, 500, 503, *further)
    responses: dict[int | str, dict[str, Any]] = {
        status: {"model": Problem, "description": "A problem", "content": {"application/problem+json": {}}}
        for status in sorted(set(statuses))
    }
    return APIRouter(prefix=prefix, tags=[tag], route_class=ROUTES[scope], responses=responses)
