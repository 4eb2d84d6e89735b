"""What stands before the console: only its own pages may use it, and browsers are told to hold them to that."""

from __future__ import annotations

import ipaddress
import secrets
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

POLICY = (
    "default-src 'self'; script-src 'self' 'nonce-{nonce}' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; font-src 'self' data:; connect-src 'self'; object-src 'none'; base-uri 'none'; "
    "form-action 'self'; frame-ancestors 'none'"
)
"""Scripts come from the console alone; 'unsafe-eval' is there as Vue compiles templates in the browser."""
HEADERS = {
    b"x-content-type-options": b"nosniff",
    b"x-frame-options": b"DENY",
    b"referrer-policy": b"no-referrer",
    b"cross-origin-opener-policy": b"same-origin",
    b"cross-origin-resource-policy": b"same-origin",
    b"permissions-policy": b"camera=(), geolocation=(), microphone=()",
}


def loopback(host: str) -> bool:
    """Whether a host, with or without a port, is this machine by its own name for itself."""
    name = urlsplit(f"//{host}").hostname or ""
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


@dataclass
class Fence:
    """Around the console: refuses pages of other sites, and names that were made to point here."""

    app: App
    local_only: bool
    """Only this machine may ask: for a console that listens at a loopback address without a key of its own."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        why = self._against(scope)
        if why is None:
            await self.app(scope, receive, Leaving(scope, send))
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1008, "reason": why})
        else:
            headers = [(b"content-type", b"text/plain; charset=utf-8"), *HEADERS.items()]
            await send({"type": "http.response.start", "status": 403, "headers": headers})
            await send({"type": "http.response.body", "body": why.encode()})

    def _against(self, scope: Scope) -> str | None:
        """Why a request may not pass; None if it may."""
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        host, origin = headers.get(b"host", ""), headers.get(b"origin")
        if self.local_only and not loopback(host):
            return "only this machine may ask, by 127.0.0.1 or localhost"
        if origin is not None and urlsplit(origin).netloc.lower() != host.lower():
            return "a page of another site may not use the console"
        reads = scope["type"] == "http" and scope["method"] in ("GET", "HEAD")
        navigates = reads and headers.get(b"sec-fetch-mode") == "navigate"
        if headers.get(b"sec-fetch-site") in ("cross-site", "same-site") and not navigates:
            return "a page of another site may not use the console"
        if scope["type"] == "websocket" and origin is None:
            return "a browser says where it comes from"
        return None


class Leaving:
    """What the console sends: with the headers, and in pages a number on each script that is its own."""

    def __init__(self, scope: Scope, send: Send) -> None:
        self.scope, self._send = scope, send
        self.nonce = secrets.token_urlsafe(16)
        self._start: Message | None = None
        self._body = b""

    async def __call__(self, message: Message) -> None:
        """Pass a message on; a page is kept until it is whole."""
        if message["type"] == "http.response.start":
            message["headers"] = self._headers(message.get("headers", []))
            given = dict(message["headers"])
            if given.get(b"content-type", b"").startswith(b"text/html"):
                self._start = message
                return
        elif message["type"] == "http.response.body" and self._start is not None:
            self._body += message.get("body", b"")
            if not message.get("more_body", False):
                await self._page(self._start)
            return
        await self._send(message)

    async def _page(self, start: Message) -> None:
        # The page's own data has no bare "<": NiceGUI writes it escaped.
        body = self._body.replace(b"<script", f'<script nonce="{self.nonce}"'.encode())
        kept = [pair for pair in start["headers"] if pair[0] not in (b"content-length", b"cache-control")]
        start["headers"] = [
            *kept,
            (b"content-length", str(len(body)).encode()),
            (b"cache-control", b"no-store"),
            (b"content-security-policy", POLICY.format(nonce=self.nonce).encode()),
        ]
        await self._send(start)
        await self._send({"type": "http.response.body", "body": body})

    def _headers(self, given: Any) -> list[tuple[bytes, bytes]]:
        kept = [(name.lower(), value) for name, value in given]
        if self._safe():
            kept = [(n, v + b"; secure" if n == b"set-cookie" else v) for n, v in kept]
        names = {name for name, _ in kept}
        return [*kept, *(pair for pair in HEADERS.items() if pair[0] not in names)]

    def _safe(self) -> bool:
        """Whether the browser came by https, itself or to a proxy before this."""
        forwarded = dict(self.scope["headers"]).get(b"x-forwarded-proto", b"")
        return self.scope.get("scheme") in ("https", "wss") or forwarded == b"https"
