"""A service for tests: a run of the circle in a process of its own, or in this one."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from finished import finished
from genre.serve.app import make
from genre.serve.server import Server, configured, listening
from genre.serve.service import Service
from genre.servesection import ServeSection
from genre.store import open_store
from genre.stores.sqlite import Sqlite

WAIT = 60.0
PATIENT: dict[str, Any] = {"deadline_ms": 5000, "source_ms": 5000, "target_ms": 60_000}
"""Settings under which a busy machine answers as an idle one does."""


def a_run(folder: Path, name: str = "circle") -> Path:
    """A copy of the finished circle, to be changed at will."""
    return Path(shutil.copytree(finished().folder, folder / name))


@dataclass
class Running:
    """A service in another process."""

    url: str
    folder: Path
    process: subprocess.Popen[str]
    log: Path

    def client(self, **headers: str) -> httpx.Client:
        """A client of it."""
        return httpx.Client(base_url=self.url, headers=headers, timeout=30)

    def stop(self) -> int:
        """Tell it to stop, and wait; its exit status."""
        self.process.terminate()
        return self.process.wait(WAIT)


@contextmanager
def running(folder: Path, *arguments: str) -> Iterator[Running]:
    """`genre serve` of a run folder, at a free port, until the block ends."""
    log = Path(tempfile.mkstemp(suffix=".log")[1])
    command = [sys.executable, "-c", "from genre.cli import main; main()", "serve", str(folder), "--port", "0"]
    with log.open("w") as out:
        process = subprocess.Popen([*command, *arguments], stdout=out, stderr=subprocess.STDOUT, text=True)
    made = Running("", folder, process, log)
    try:
        made.url = _url(made)
        yield made
    finally:
        process.kill()
        process.wait()
        log.unlink()


def _url(made: Running) -> str:
    until = time.monotonic() + WAIT
    while time.monotonic() < until and made.process.poll() is None:
        lines = [line for line in made.log.read_text().splitlines() if line.startswith("listens ")]
        if lines:
            url = lines[0].split()[1]
            try:
                if httpx.get(f"{url}/v1/health/ready").status_code == 200:
                    return url
            except httpx.TransportError:
                pass
        time.sleep(0.05)
    raise AssertionError(f"the service did not start:\n{made.log.read_text()}")


@contextmanager
def asking(made: Service) -> Iterator[Callable[..., httpx.Response]]:
    """Ask a service of this process as if over HTTP: ``ask("post", "/v1/recommend", json={})``."""
    app: Any = make(made)

    def ask(method: str, path: str, **given: Any) -> httpx.Response:
        async def once() -> httpx.Response:
            transport = httpx.ASGITransport(app)
            async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
                return await client.request(method, path, **given)

        return asyncio.run(once())

    yield ask


@contextmanager
def service(folder: Path, store: Any = None, **settings: Any) -> Iterator[Service]:
    """A service in this process, without HTTP."""
    section = ServeSection(**{"store": store or Sqlite(durability="normal"), **PATIENT, **settings})
    with open_store(section.store, folder, clock=time.time) as opened:
        made = Service(folder, section, opened)
        try:
            yield made
        finally:
            made.close()


@contextmanager
def listens(made: Service) -> Iterator[str]:
    """The address of a service of this process, which answers there in a thread of its own."""
    with listening("127.0.0.1", 0) as bound:
        server = Server(configured(made), made)
        thread = threading.Thread(target=server.run, args=([bound],), daemon=True)
        thread.start()
        while not server.started and thread.is_alive():
            time.sleep(0.005)
        yield f"http://127.0.0.1:{bound.getsockname()[1]}"
        server.should_exit = True
        thread.join(20)


@contextmanager
def shared() -> Iterator[str]:
    """The address of a service for tests that leave nothing behind but events, items and users of their own.

    Beside the circle there is another run of it, `later`.
    """
    with tempfile.TemporaryDirectory(prefix="genre-served-") as name:
        a_run(Path(name), "later")
        with service(a_run(Path(name)), gorse=True, rate=1e5, burst=100_000) as made, listens(made) as url:
            yield url


@contextmanager
def client_of(url: str, **headers: str) -> Iterator[httpx.Client]:
    """A client of a service."""
    with httpx.Client(base_url=url, headers=headers, timeout=30) as made:
        yield made
