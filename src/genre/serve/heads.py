"""Connections whose request does not begin in time: uvicorn waits for them for ever, and each takes a place."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.auto import AutoHTTPProtocol

HEAD_SECONDS = 10.0
"""How long a client may take from its first byte, or from connecting, to the end of a request's headers."""
HEAD_BYTES = 65_536
"""Most that may come before the headers end."""
Base: Any = AutoHTTPProtocol


class Prompt(Base):
    """uvicorn's own protocol, which closes a connection whose headers are late, or too long."""

    _late: asyncio.TimerHandle | None = None
    _came = 0

    def connection_made(self, transport: asyncio.Transport) -> None:
        """Somebody connects."""
        super().connection_made(transport)
        self._wait()

    def data_received(self, data: bytes) -> None:
        """Something comes: the head of a request, or of its body."""
        before = self.cycle
        super().data_received(data)
        if self.cycle is not before or self.transport.get_protocol() is not self:
            # A request has begun, or the connection has become a WebSocket's.
            self._begun()
        elif before is None or before.response_complete:
            self._came += len(data)
            if self._came > HEAD_BYTES:
                self._give_up()
            elif self._late is None:
                self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """It is gone."""
        self._begun()
        super().connection_lost(exc)

    def _wait(self) -> None:
        self._late = self.loop.call_later(HEAD_SECONDS, self._give_up)

    def _begun(self) -> None:
        if self._late is not None:
            self._late.cancel()
        self._late, self._came = None, 0

    def _give_up(self) -> None:
        self._begun()
        if not self.transport.is_closing():
            self.transport.close()
