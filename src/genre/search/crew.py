"""Workers of a search: processes that each do one piece of work at a time, and whose death is heard of, not shared.

A worker is ``python -m genre.search.crew``. It reads work as lines of JSON and writes what becomes of it as lines of
JSON; what the work itself prints goes to a file. When whoever started it is gone it ends at once.
"""

from __future__ import annotations

import contextlib
import errno
import importlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from genre.errors import GenreError

FULL = (errno.ENOSPC, errno.EDQUOT)
NO_MEMORY = ("not enough memory", "out of memory", "can't allocate memory", "cannot allocate memory")
"""How torch, on a processor and on an accelerator, and the system say that there is none left."""
LONGEST_REASON = 600
"""Characters of a reason that are kept; all of it is in the log of the trial."""


@dataclass(frozen=True)
class Work:
    """A function of the package, or of a user's, by name: ``genre.search.trial:trial``, called with plain data."""

    key: str
    call: str
    arguments: dict[str, Any]
    log: Path
    """Where what it prints goes."""


@dataclass(frozen=True)
class News:
    """What became of a piece of work."""

    key: str
    kind: Literal["epoch", "done", "pruned", "failed", "full", "killed"]
    """``epoch`` waits for an answer; ``full`` is a full disk; ``killed`` is a process that is gone."""
    data: dict[str, Any] = field(default_factory=dict)


class Workers(Protocol):
    """Who does the work: processes of this machine here; a cluster may give another."""

    n: int
    """How many there are."""

    def idle(self) -> int:
        """How many have nothing to do."""
        ...

    def start(self, work: Work) -> None:
        """Give a piece of work to one that is idle."""
        ...

    def news(self, seconds: float) -> Iterator[News]:
        """What has happened since, waiting at most so long for something."""
        ...

    def answer(self, key: str, stop: bool) -> None:
        """Say to work that has told of an epoch whether it shall stop."""
        ...

    def close(self) -> None:
        """End them, whatever they are doing."""
        ...


class Pruned(Exception):
    """A training that is not worth finishing."""


class LocalWorkers:
    """Processes of this machine, started when there is work and kept for the next."""

    def __init__(self, n: int, threads: int | None = None) -> None:
        self.n, self.threads = n, threads
        self.processes: dict[subprocess.Popen[str], str | None] = {}
        """Each with the key of what it does."""
        self.heard: queue.Queue[tuple[subprocess.Popen[str], str | None]] = queue.Queue()

    def idle(self) -> int:
        """See `Workers.idle`."""
        return self.n - sum(key is not None for key in self.processes.values())

    def start(self, work: Work) -> None:
        """See `Workers.start`."""
        process = next((one for one, key in self.processes.items() if key is None), None) or self._begin()
        self.processes[process] = work.key
        _send(process, {"call": work.call, "arguments": work.arguments, "log": str(work.log)})

    def news(self, seconds: float) -> Iterator[News]:
        """See `Workers.news`."""
        until = time.monotonic() + seconds
        while True:
            try:
                process, line = self.heard.get(timeout=max(0.0, until - time.monotonic()))
            except queue.Empty:
                return
            key = self.processes.get(process)
            if line is None:
                self.processes.pop(process, None)
                _hang_up(process)
                # Also of one that had nothing to do: who ended is waited for, or stays a zombie.
                code = process.wait()
                if key is not None:
                    yield News(key, "killed", {"reason": _death(code)})
            elif key is not None:
                told = json.loads(line)
                if told["kind"] != "epoch":
                    self.processes[process] = None
                yield News(key, told["kind"], told["data"])
            until = min(until, time.monotonic())

    def answer(self, key: str, stop: bool) -> None:
        """See `Workers.answer`."""
        for process, mine in self.processes.items():
            if mine == key:
                _send(process, {"stop": stop})

    def close(self) -> None:
        """See `Workers.close`."""
        for process in self.processes:
            process.kill()
            process.wait()
            _hang_up(process)
        self.processes.clear()

    def _begin(self) -> subprocess.Popen[str]:
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        if self.threads is not None:
            environment.setdefault("OMP_NUM_THREADS", str(self.threads))
        process = subprocess.Popen(
            [sys.executable, "-m", "genre.search.crew"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
            # Ctrl-C is for whoever started the search, who then ends the workers.
            start_new_session=True,
        )
        self.processes[process] = None
        threading.Thread(target=self._listen, args=(process,), daemon=True).start()
        return process

    def _listen(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            self.heard.put((process, line))
        self.heard.put((process, None))
        process.stdout.close()


def _send(process: subprocess.Popen[str], what: dict[str, Any]) -> None:
    assert process.stdin is not None
    # Of a worker that is gone the listener tells.
    with contextlib.suppress(BrokenPipeError):
        process.stdin.write(json.dumps(what) + "\n")
        process.stdin.flush()


def _hang_up(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError):
        process.stdin.close()


def _death(code: int) -> str:
    if code >= 0:
        return f"its process ended with exit status {code}"
    name = signal.Signals(-code).name
    memory = ", as the system does when memory runs out" if name == "SIGKILL" else ""
    return f"its process was ended by {name}{memory}"


class Serving:
    """The worker's side: work from standard input, news to standard output."""

    def __init__(self) -> None:
        self.out = os.fdopen(os.dup(1), "w")
        self.asked: queue.Queue[dict[str, Any]] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        for line in sys.stdin:
            self.asked.put(json.loads(line))
        # Nobody is left to work for.
        os._exit(1)

    def run(self) -> None:
        """Work until there is nobody left."""
        while True:
            work = self.asked.get()
            try:
                with _printing_to(Path(work["log"])):
                    kind, data = self._do(work)
            except OSError as error:
                kind, data = told(error)
            self._tell(kind, data)

    def _do(self, work: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        try:
            module, _, name = work["call"].partition(":")
            function = getattr(importlib.import_module(module), name)
            return "done", function(**work["arguments"], watch=self._watch)
        except Pruned:
            return "pruned", {}
        except Exception as error:
            traceback.print_exc()
            return told(error)

    def _watch(self, step: int, row: dict[str, Any]) -> None:
        self._tell("epoch", {"step": step, "row": row})
        if self.asked.get()["stop"]:
            raise Pruned

    def _tell(self, kind: str, data: dict[str, Any]) -> None:
        self.out.write(json.dumps({"kind": kind, "data": data}) + "\n")
        self.out.flush()


def told(error: BaseException) -> tuple[str, dict[str, Any]]:
    """What is said of work that failed: for a reason of its own, or since the disk is full, which stops the search."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, OSError) and seen.errno in FULL:
            return "full", {"reason": str(error)}
        seen = seen.__cause__ or seen.__context__
    if isinstance(error, MemoryError) or any(words in str(error).lower() for words in NO_MEMORY):
        return "failed", {"reason": "out of memory; lower train.token_budget or train.batch_size, or run fewer workers"}
    text = str(error) if isinstance(error, GenreError) else f"{type(error).__name__}: {error}"
    return "failed", {"reason": text[:LONGEST_REASON]}


@contextlib.contextmanager
def _printing_to(path: Path) -> Iterator[None]:
    """Inside, standard output and error of this process, of its libraries too, are appended to a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        sys.stdout.flush()
        sys.stderr.flush()
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
        try:
            yield
        finally:
            sys.stdout.flush()
            sys.stderr.flush()


if __name__ == "__main__":
    Serving().run()
