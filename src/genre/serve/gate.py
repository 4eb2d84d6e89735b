"""What every request passes on its way in and out: its size and pace, its number, its time, headers, the log."""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
import uuid
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any

from genre.serve.measures import Measures
from genre.serve.problems import Refused, reply

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

ACCESS = logging.getLogger("genre.access")
ERRORS = logging.getLogger("genre.serve")
BODY_SECONDS = 10.0
"""How long a client may take to send a body."""
START, NUMBERS = uuid.uuid4().hex[:8], itertools.count(1)
"""What the numbers of requests are made of: one for the process, and one for each."""
HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
]
"""What every reply of the API says to browsers."""


@dataclass
class Gate:
    """Around the application: nothing passes that is too large or too slow, and nothing leaves as a bare failure."""

    app: App
    measures: Measures
    largest: int
    """Bytes of a body."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        passing = Passing(scope, receive, send, self.largest)
        try:
            passing.insist_on_size()
            await self.app(scope, passing.receive, passing.send)
        except Refused as refused:
            await passing.refuse(refused)
        except Exception:
            ERRORS.exception("request %s failed", passing.number)
            await passing.refuse(Refused(500, f"an error of the service; its log has it under {passing.number}"))
        finally:
            self._tell(passing)

    def _tell(self, passing: Passing) -> None:
        seconds, scope = time.perf_counter() - passing.started, passing.scope
        route = getattr(scope.get("route"), "path", "other")
        self.measures.requests.labels(route, str(passing.status)).inc()
        self.measures.seconds.labels(route).observe(seconds)
        if ACCESS.isEnabledFor(logging.INFO):
            key = scope["state"].get("key_id", "-")
            # The path as it came may hold line breaks once decoded; the query is never logged.
            path = scope["path"].encode("unicode_escape", "backslashreplace").decode("ascii")[:200]
            line = "%s %s %d %.1fms key=%s id=%s"
            ACCESS.info(line, scope["method"], path, passing.status, 1000 * seconds, key, passing.number)


class Passing:
    """One request under way."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, largest: int) -> None:
        self.scope, self._receive, self._send, self.largest = scope, receive, send, largest
        self.started = time.perf_counter()
        self.number = f"{START}-{next(NUMBERS)}"
        self.status = 0
        self._read, self._whole = 0, False
        scope["state"] = {**scope.get("state", {}), "request_id": self.number}

    def insist_on_size(self) -> None:
        """Raise `Refused` where the client says that the body is too large."""
        for name, value in self.scope["headers"]:
            if name == b"content-length" and (not value.isdigit() or int(value) > self.largest):
                raise self._too_large()

    def _too_large(self) -> Refused:
        # What was not read would be taken for the next request.
        mend = f"the body may have {self.largest:,} bytes; send several smaller requests"
        return Refused(413, mend, headers={"Connection": "close"})

    async def receive(self) -> Message:
        """The next part of the body, while it is not too large and comes in time."""
        if self._whole:
            return await self._receive()
        left = BODY_SECONDS - (time.perf_counter() - self.started)
        try:
            message = await asyncio.wait_for(self._receive(), max(left, 0.001))
        except TimeoutError:
            mend = f"the body did not come within {BODY_SECONDS:g} seconds"
            raise Refused(408, mend, headers={"Connection": "close"}) from None
        if message["type"] == "http.request":
            self._read += len(message.get("body", b""))
            self._whole = not message.get("more_body", False)
            if self._read > self.largest:
                raise self._too_large()
        return message

    async def send(self, message: Message) -> None:
        """A part of the reply, with the headers that every reply has."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            given = {name.lower() for name, _ in message.get("headers", [])}
            further = [pair for pair in HEADERS if pair[0] not in given]
            message["headers"] = [*message.get("headers", []), *further, (b"x-request-id", self.number.encode())]
        await self._send(message)

    async def refuse(self, refused: Refused) -> None:
        """Answer by a problem, unless an answer has begun."""
        if self.status:
            return
        response = reply(refused, self.number)
        await response(self.scope, self._receive, self.send)  # type: ignore[arg-type]
