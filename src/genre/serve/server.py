"""The process: it listens, says where, and when told to stop finishes what is under way."""

from __future__ import annotations

import logging
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import uvicorn

from genre.errors import GenreError
from genre.serve.app import make
from genre.serve.heads import Prompt
from genre.serve.heap import compact
from genre.serve.loaded import Loaded
from genre.serve.service import Service
from genre.servesection import ServeSection
from genre.store import Store, open_store

KEEP_ALIVE = 10
"""Seconds that an idle connection stays open."""
CONNECTIONS = 1024
"""Connections at once; more are turned away with 503."""


class Server(uvicorn.Server):
    """A server that says that it is not ready from the moment it is told to stop."""

    def __init__(self, config: uvicorn.Config, service: Service) -> None:
        super().__init__(config)
        self.service = service

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Take no more connections, and let requests under way finish."""
        self.service.draining = True
        await super().shutdown(sockets)


def serve(
    folder: Path, settings: ServeSection, form: str | None = None, told: Callable[[str], None] | None = None
) -> None:
    """Serve a run until the process is told to stop. Raises `GenreError` where that cannot begin."""
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    compact()
    with open_store(settings.store, folder) as store:
        service = Service(folder, settings, store, form)
        try:
            bound = listening(settings.host, settings.port)
            with bound:
                for line in facts(bound, service, store):
                    (told or print)(line)
                config = configured(service)
                if settings.console:
                    config.app = _with_console(config.app, told or print)
                # uvicorn raises the signal that stopped it once more: without this it would end the process before the
                # slates that wait are written.
                for one in (signal.SIGTERM, signal.SIGINT):
                    signal.signal(one, lambda *_: None)
                Server(config, service).run([bound])
        finally:
            service.close()


def _with_console(app: Any, told: Callable[[str], None]) -> Any:
    """The application with the console beside it, where its libraries are installed."""
    try:
        from genre.console.mounting import beside

        made = beside(app)
    except ModuleNotFoundError as error:
        told(f"console none: {error.name} is not installed; pip install 'genre-recommender[console]'")
        return app
    told("console at /console")
    return made


def configured(service: Service) -> uvicorn.Config:
    """How uvicorn serves a service: without its own log of requests, which would have their queries."""
    return uvicorn.Config(
        make(service),
        http=Prompt,
        access_log=False,
        log_config=None,
        server_header=False,
        lifespan="on",
        limit_concurrency=CONNECTIONS,
        timeout_keep_alive=KEEP_ALIVE,
        timeout_graceful_shutdown=max(1, round(service.settings.drain_seconds)),
        proxy_headers=False,
    )


def listening(host: str, port: int) -> socket.socket:
    """A socket that listens. Raises `GenreError` where the address is taken or not this machine's."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((host.strip("[]"), port))
    except OSError as error:
        bound.close()
        raise GenreError(
            f"cannot listen at {host}:{port} ({error.strerror or error}); set --port, or --port 0"
        ) from error
    bound.set_inheritable(True)
    return bound


def facts(bound: socket.socket, service: Service, store: Store) -> list[str]:
    """What a person wants to know when the service starts."""
    host, port = bound.getsockname()[:2]
    model: Loaded = service.models.active
    keys = len(service.guard.ring.keys)
    shown = f"[{host}]" if ":" in host else host
    guarded = f"{keys} keys" if keys else "none needed: only this machine can ask ('genre store key add' makes one)"
    return [
        f"model   {model.folder.name}@{model.version}",
        f"store   {store.address}",
        f"keys    {guarded}",
        f"listens http://{shown}:{port}   (OpenAPI: /v1/openapi.json)",
    ]
