"""One thread that writes: what many callers hand in while it works becomes one transaction, and one flush to disk."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, func, select

from genre.errors import GenreError
from genre.store.faults import DATABASE, SAID, Overloaded, StoreError, told

T = TypeVar("T")
P = TypeVar("P")
Apply = Callable[[Connection, list[P]], list[T]]
"""Writes what several callers handed in, and says to each what became of it."""
GROUP = 2_000
"""Most rows of one transaction, unless one caller alone hands in more; larger waits longer for the first."""
LINGER = 0.002
"""Most seconds that a group waits for the callers of the one before it, who have just been answered and come again."""
LOCK = 0x67656E7265
"""Number of the lock that a writer holds on PostgreSQL."""


@dataclass(eq=False)
class Task:
    """What one caller handed in."""

    apply: Apply[Any, Any]
    payload: Any
    rows: int
    future: Future[Any] = field(default_factory=Future)


@dataclass(frozen=True)
class _Refused:
    """A result that is an error for its caller alone."""

    error: GenreError


class Writer:
    """The only place where a process writes to its store.

    A future resolves after the commit of its group, and so after the flush to disk. A group that fails for what is in
    it is tried again one caller at a time, so that a bad row harms nobody else; one that fails for the database's sake
    (full, locked, gone) is told to each caller at once. The thread lives on in every case.
    """

    def __init__(
        self, engine: Engine, address: str, identity: Callable[[], Hashable | None], capacity: int = 20_000
    ) -> None:
        self.engine, self.address, self.identity, self.capacity = engine, address, identity, capacity
        self.groups = self.rows = 0
        self._queue: deque[Task] = deque()
        self._waiting = 0
        self._company = 0
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="genre-writer", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Rows handed in and not yet durable."""
        return self._waiting

    @property
    def alive(self) -> bool:
        """Whether it takes work."""
        return self._thread.is_alive() and not self._closed

    def submit(self, apply: Apply[P, T], payload: P, rows: int = 1) -> Future[T]:
        """Hand in work; tasks with the same ``apply`` that follow each other are applied together.

        Raises `Overloaded` where more rows wait than there is room for.
        """
        task = Task(apply, payload, rows)
        with self._changed:
            if self._closed:
                raise StoreError(f"{self.address}: the store is closed", "gone")
            if self._waiting and self._waiting + rows > self.capacity:
                raise Overloaded(f"{self.address}: {self._waiting} rows wait to be written; try again shortly", 1.0)
            self._waiting += rows
            self._queue.append(task)
            self._changed.notify()
        return task.future

    def run(self, work: Callable[[Connection], T]) -> T:
        """Do ``work`` in the next transaction and wait until it is durable. A `GenreError` of it undoes it alone."""
        return self.submit(_each, work).result()

    def close(self, timeout: float | None = 30.0) -> None:
        """Take no more, write what waits, and stop. What could not be written in time is told so."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join(timeout)
        with self._changed:
            left, self._waiting = list(self._queue), 0
            self._queue.clear()
        for task in left:
            if task.future.set_running_or_notify_cancel():
                task.future.set_exception(StoreError(f"{self.address}: the store was closed before", "gone"))

    def _work(self) -> None:
        while group := self._next():
            live = [task for task in group if task.future.set_running_or_notify_cancel()]
            try:
                self._settle(live)
            except Exception as error:  # whatever it is, its callers shall know, and the next ones be served
                for task in live:
                    if not task.future.done():
                        task.future.set_exception(error)
            with self._changed:
                self._waiting -= sum(task.rows for task in group)

    def _next(self) -> list[Task]:
        """The tasks of the next group; none once it is closed and nothing waits."""
        with self._changed:
            while not self._queue and not self._closed:
                self._changed.wait()
            if self._company > 1:
                self._changed.wait_for(lambda: self._closed or len(self._queue) >= self._company, LINGER)
            group: list[Task] = []
            rows = 0
            while self._queue and (not group or rows + self._queue[0].rows <= GROUP):
                group.append(self._queue.popleft())
                rows += group[-1].rows
            self._company = len(group)
            return group

    def _settle(self, group: list[Task]) -> None:
        try:
            results = self._commit(group)
        except Exception as error:
            fault = told(error, self.address) if isinstance(error, (*DATABASE, GenreError)) else error
            if len(group) == 1 or (isinstance(fault, StoreError) and fault.cause != "refused"):
                for task in group:
                    task.future.set_exception(fault)
                return
            for task in group:
                self._settle([task])
            return
        for task, result in zip(group, results, strict=True):
            if isinstance(result, _Refused):
                task.future.set_exception(result.error)
            else:
                task.future.set_result(result)

    def _commit(self, group: list[Task]) -> list[Any]:
        """Apply the group in one transaction, and see that the data it went to are still those of the store."""
        before = self.identity()
        if before is None:
            raise StoreError(f"{self.address}: {SAID['gone']}", "gone")
        results: list[Any] = []
        with self.engine.connect().execution_options(writes=True) as connection, connection.begin():
            alone(connection)
            for apply, tasks in groupby(group, key=lambda task: task.apply):
                results += apply(connection, [task.payload for task in tasks])
        if self.identity() != before:
            # The file went away under the open connection: what was written is in it, but nobody will find it there.
            raise StoreError(f"{self.address}: {SAID['gone']}", "gone")
        self.groups += 1
        self.rows += sum(task.rows for task in group)
        return results


def alone(connection: Connection) -> None:
    """Wait until no other transaction writes to the store, and keep others from it until this one ends.

    A file has one writer in any case. On PostgreSQL rows get their numbers before they are committed: without this a
    reader could see number 8, take it as the latest, and miss a 7 that is committed a moment later; and two servers
    that write the same rows in another order would wait for each other.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.pg_advisory_xact_lock(LOCK)))


def _each(connection: Connection, works: list[Callable[[Connection], Any]]) -> list[Any]:
    """Each by itself, as one may be refused without harm to the others."""
    results: list[Any] = []
    for work in works:
        try:
            with connection.begin_nested():
                results.append(work(connection))
        except GenreError as error:
            results.append(_Refused(error))
    return results
