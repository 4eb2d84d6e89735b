"""The console as an application: in the service's own process beside the API, or by itself for a service elsewhere."""

from __future__ import annotations

import os
import secrets
import warnings
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import httpx
from fastapi import FastAPI

from genre.console.calling import SECONDS, Caller
from genre.console.fence import App, Fence, Receive, Scope, Send
from genre.console.parts import PREFIX
from genre.errors import GenreError

SECRET = "GENRE_CONSOLE_SECRET"
"""Environment variable with what session cookies are signed by; without it each start makes its own."""
HERE = "http://127.0.0.1"
_mounted: list[bool] = []


@dataclass
class Beside:
    """The API and the console at one address: the console has what is below its path."""

    api: App
    console: FastAPI
    fence: Fence

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            async with AsyncExitStack() as stack:
                with warnings.catch_warnings():
                    # NiceGUI looks at every object in memory for the server, and some warn when they are looked at.
                    warnings.simplefilter("ignore")
                    await stack.enter_async_context(self.console.router.lifespan_context(self.console))
                await self.api(scope, receive, send)
        elif scope["path"] == PREFIX or scope["path"].startswith(f"{PREFIX}/"):
            await self.fence(scope, receive, send)
        else:
            await self.api(scope, receive, send)


def beside(api: App) -> Beside:
    """The API with the console at /console, which asks the API as anybody else would, in the same process."""
    http = httpx.AsyncClient(transport=httpx.ASGITransport(api), base_url=HERE, timeout=SECONDS)  # type: ignore[arg-type]
    # Whether a name of this host is to be trusted without a key is for the API to judge, so it is passed on.
    console = _application(lambda key, host: Caller(http, key, host))
    return Beside(api, console, Fence(console, local_only=False))  # type: ignore[arg-type]


def alone(url: str) -> Fence:
    """The console by itself, for the service at a URL; for this machine only."""
    http = httpx.AsyncClient(base_url=url, timeout=SECONDS)
    return Fence(_application(lambda key, host: Caller(http, key)), local_only=True)  # type: ignore[arg-type]


def _application(caller: Callable[[str | None, str | None], Caller]) -> FastAPI:
    """The pages below /console. Raises `GenreError` for a second console: NiceGUI has one application a process."""
    from nicegui import ui
    from starlette.responses import RedirectResponse

    from genre.console.pages import register_all

    if _mounted:
        raise GenreError("there is one console in a process, and it is there already; start another process")
    _mounted.append(True)
    register_all(caller)
    host = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)

    @host.get("/")
    @host.get(PREFIX)
    async def root() -> RedirectResponse:
        return RedirectResponse(f"{PREFIX}/", 307)

    cookie: dict[str, Any] = {"session_cookie": "genre_console", "same_site": "strict", "path": PREFIX, "max_age": None}
    ui.run_with(
        host,
        title="GENRE",
        mount_path=PREFIX,
        dark=None,
        tailwind=False,
        favicon=ICON,
        storage_secret=os.environ.get(SECRET) or secrets.token_urlsafe(32),
        session_middleware_kwargs=cookie,
        show_welcome_message=False,
        gzip_middleware_factory=None,
    )
    return host


ICON = (
    '<svg viewBox="0 0 32 32" xmlns="http://www.w3.org/2000/svg"><rect width="32" height="32" rx="8" fill="#3449a8"/>'
    '<path d="M8 22V10h4v12zm6 0v-8h4v8zm6 0v-5h4v5z" fill="#fff"/></svg>'
)
