"""The inference thread: requests that wait are answered together, and no more wait than there is room for."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np

from genre.data import Histories
from genre.serve.allowing import Allowed
from genre.serve.loaded import Loaded, compute_with
from genre.types import Bools, Query, Slate

SHARE = 0.6
"""Share of the time that is left in which the sources of a block must answer; the rest is for what comes after."""


class Full(Exception):
    """More requests wait than there is room for."""


@dataclass
class Ask:
    """A slate that is asked for."""

    model: Loaded
    history: Histories
    """Of one person."""
    query: Query
    moderated: Bools
    """``[items]``: what moderation lets pass."""
    wanted: Bools | None
    """``[items]``: what the request itself wants to see; None for all."""
    until: float
    """When it is too late, by `time.monotonic`."""
    future: Future[Slate] = field(default_factory=Future)


@dataclass
class Call:
    """Anything else that must happen on the inference thread."""

    work: Callable[[], Any]
    until: float
    future: Future[Any] = field(default_factory=Future)


class Inference:
    """One thread that computes, so that models are never asked by two at once."""

    def __init__(self, room: int, block: int, source_seconds: float, threads: int = 1) -> None:
        self.room, self.block, self.source_seconds = room, block, source_seconds
        self.blocks = self.answered = 0
        self._waiting: deque[Ask | Call] = deque()
        self._ready = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._work, args=(threads,), name="inference", daemon=True)
        self._thread.start()

    def __len__(self) -> int:
        return len(self._waiting)

    def submit(self, task: Ask | Call) -> Future[Any]:
        """Wait for it by its future. Raises `Full`."""
        with self._ready:
            if len(self._waiting) >= self.room or self._closed:
                raise Full
            self._waiting.append(task)
            self._ready.notify()
        return task.future

    def close(self) -> None:
        """Answer what waits, then stop."""
        with self._ready:
            self._closed = True
            self._ready.notify()
        self._thread.join(timeout=10)

    def _work(self, threads: int) -> None:
        compute_with(threads)
        while True:
            with self._ready:
                self._ready.wait_for(lambda: bool(self._waiting) or self._closed)
                if not self._waiting:
                    return
                tasks = self._taken()
            if isinstance(tasks[0], Call):
                _finish(tasks[0], tasks[0].work)
            else:
                self._answer([task for task in tasks if isinstance(task, Ask)])
            # The last block would otherwise be kept until the next comes.
            del tasks

    def _taken(self) -> list[Ask | Call]:
        """The first that waits, and those behind it that can be answered with it."""
        tasks = [self._waiting.popleft()]
        first = tasks[0]
        while isinstance(first, Ask) and self._waiting and len(tasks) < self.block:
            after = self._waiting[0]
            if not isinstance(after, Ask) or after.model is not first.model:
                break
            tasks.append(self._waiting.popleft())
        return tasks

    def _answer(self, asks: list[Ask]) -> None:
        now = time.monotonic()
        asks = [ask for ask in asks if ask.until > now and ask.future.set_running_or_notify_cancel()]
        if not asks:
            return
        self.blocks, self.answered = self.blocks + 1, self.answered + len(asks)
        try:
            slates = self.slates(asks)
        except Exception as error:
            if len(asks) == 1:
                asks[0].future.set_exception(error)
                return
            # One of them may have spoilt it for the others.
            for ask in asks:
                _set(ask.future, partial(self._alone, ask))
            return
        for ask, slate in zip(asks, slates, strict=True):
            ask.future.set_result(slate)

    def _alone(self, ask: Ask) -> Slate:
        return self.slates([ask])[0]

    def slates(self, asks: list[Ask]) -> list[Slate]:
        """Answers of one model to a block. Raises `GenreError` when every source fails."""
        model, started = asks[0].model, time.monotonic()
        left = min(ask.until for ask in asks) - started
        model.deadline.until = started + min(self.source_seconds, SHARE * left)
        histories = Histories.joined([ask.history for ask in asks])
        histories = replace(histories, texts=tuple(ask.query.text or None for ask in asks))
        path = model.path
        rules = {**path.filters, "moderation": Allowed(np.stack([ask.moderated for ask in asks]))}
        if any(ask.wanted is not None for ask in asks):
            everything = np.ones(len(model.item_ids), dtype=bool)
            wanted = [everything if ask.wanted is None else ask.wanted for ask in asks]
            rules["request"] = Allowed(np.stack(wanted))
        for name, source in path.sources.items():
            if name not in path.searches:
                source.start(path.states[name], histories, path.resources)  # type: ignore[attr-defined]
        return path.changed(filters=rules).answer([ask.query for ask in asks], histories)


def _finish(call: Call, work: Callable[[], Any]) -> None:
    if call.until <= time.monotonic():
        call.future.cancel()
    elif call.future.set_running_or_notify_cancel():
        _set(call.future, work)


def _set(future: Future[Any], work: Callable[[], Any]) -> None:
    try:
        future.set_result(work())
    except Exception as error:
        future.set_exception(error)
