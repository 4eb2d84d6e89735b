"""Sources with a deadline: they work at the same time, and one that does not come back costs its candidates alone."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from genre.data import Histories, Log
from genre.serve.quality import Quality
from genre.sources import Resources, Source, Vectors
from genre.types import Floats, State

LONGEST = 3600.0
"""Seconds that a source may work where no deadline is set."""


class Deadline:
    """Until when the sources of one block may work."""

    def __init__(self) -> None:
        self.until = float("inf")

    def left(self) -> float:
        """Seconds that are left."""
        return min(LONGEST, max(0.0, self.until - time.monotonic()))


class Worker:
    """One thread that does one thing at a time, and is found busy while it still does the last."""

    def __init__(self, name: str, prepare: Callable[[], None]) -> None:
        self._task: tuple[Future[Any], Callable[[], Any]] | None = None
        self._wake = threading.Semaphore(0)
        self._lock = threading.Lock()
        self._prepare = prepare
        self._closed = False
        threading.Thread(target=self._work, name=name, daemon=True).start()

    def submit(self, call: Callable[[], Any]) -> Future[Any] | None:
        """The result to be of ``call``; None while the thread is busy."""
        with self._lock:
            if self._task is not None:
                return None
            future: Future[Any] = Future()
            self._task = (future, call)
        self._wake.release()
        return future

    def close(self) -> None:
        """Let the thread end once it is idle."""
        self._closed = True
        self._wake.release()

    def _work(self) -> None:
        self._prepare()
        while True:
            self._wake.acquire()
            task = self._task
            if task is None:
                if self._closed:
                    return
                continue
            future, call = task
            try:
                result, error = call(), None
            except Exception as raised:
                result, error = None, raised
            with self._lock:
                self._task = None
            if error is None:
                future.set_result(result)
            else:
                future.set_exception(error)
            # What a finished task holds on to, such as a block of histories, is let go of.
            del task, future, call, result, error


@dataclass
class Bounded:
    """A source that is asked in a thread of its own until the block's deadline.

    `start` lets it begin before the pipeline asks, so that sources work at the same time. One that overran is left
    alone until it comes back.
    """

    source: Source
    deadline: Deadline
    worker: Worker
    quality: Quality = field(default_factory=Quality)
    _started: tuple[Histories, Future[Any] | None] | None = field(default=None, repr=False)

    @property
    def top_k(self) -> int | None:
        """Candidates to retrieve: fewer while slates take too long."""
        return self.quality.of(getattr(self.source, "top_k", None))

    def fit(self, log: Log, resources: Resources) -> State:
        """What the source itself learns."""
        return self.source.fit(log, resources)

    def start(self, state: State, histories: Histories, resources: Resources) -> None:
        """Begin to score."""
        self._started = (histories, self.worker.submit(lambda: self.source.score(state, histories, resources)))

    def score(self, state: State, histories: Histories, resources: Resources) -> Floats:
        """The source's scores. Raises `TimeoutError` past the deadline, and while it is busy with an earlier block."""
        if self._started is None or self._started[0] is not histories:
            self.start(state, histories, resources)
        assert self._started is not None
        future, self._started = self._started[1], None
        return self._wait(future)

    def vectors(self, state: State, resources: Resources) -> Vectors:
        """The source's vectors, those of people until the deadline."""
        inner: Vectors = self.source.vectors(state, resources)  # type: ignore[attr-defined]
        return Vectors(inner.items, lambda histories: self._wait(self.worker.submit(lambda: inner.of(histories))))

    def _wait(self, future: Future[Any] | None) -> Any:
        if future is None:
            raise TimeoutError("still busy with an earlier request")
        try:
            return future.result(self.deadline.left())
        except TimeoutError as error:
            if future.done():
                raise
            raise TimeoutError("did not answer before the deadline") from error
