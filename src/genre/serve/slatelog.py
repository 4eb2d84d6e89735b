"""Slates are written after the reply; what cannot be written in time is lost, and counted."""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections import OrderedDict

from genre.serve.measures import Measures
from genre.store import Store
from genre.store.faults import Overloaded, StoreError
from genre.store.records import SlateRow

LOG = logging.getLogger("genre.serve")
GROUP = 200
GATHER = 0.25
"""Seconds in which slates gather, so that a group shares one commit."""
PAUSE = 0.2
"""Seconds between two attempts at a store that fails."""


class SlateLog:
    """A thread that writes slates in groups."""

    def __init__(self, store: Store, room: int, measures: Measures) -> None:
        self.store, self.room, self.measures = store, room, measures
        self._waiting: OrderedDict[str, SlateRow] = OrderedDict()
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._give_up = float("inf")
        self._troubled = False
        self._thread = threading.Thread(target=self._work, name="slates", daemon=True)
        self._thread.start()

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, slate: SlateRow) -> None:
        """Write it soon; if too many wait it is lost, and counted."""
        with self._lock:
            if len(self._waiting) < self.room:
                self._waiting[slate.slate_id] = slate
                return
        self.measures.lost.inc()

    def get(self, slate_id: str) -> SlateRow | None:
        """A slate that is not written yet."""
        return self._waiting.get(slate_id)

    def oldest(self) -> float | None:
        """When the first of those that are not written yet was made."""
        with self._lock:
            return next((slate.created for slate in self._waiting.values()), None)

    def close(self, seconds: float) -> None:
        """Write what waits, as far as ``seconds`` allow."""
        self._give_up = time.monotonic() + seconds
        self._closed.set()
        self._thread.join(seconds + 1)

    def _work(self) -> None:
        # It looks at intervals, as to be woken costs each request more than all of these looks.
        while not self._closed.wait(GATHER) or self._waiting:
            while group := self._first():
                if self._written(group):
                    with self._lock:
                        for slate in group:
                            self._waiting.pop(slate.slate_id, None)
                elif time.monotonic() > self._give_up:
                    self.measures.lost.inc(len(self._waiting))
                    return
                else:
                    time.sleep(PAUSE)

    def _first(self) -> list[SlateRow]:
        with self._lock:
            return list(itertools.islice(self._waiting.values(), GROUP))

    def _written(self, group: list[SlateRow]) -> bool:
        try:
            self.store.slates.add(group)
        except (StoreError, Overloaded) as error:
            if not self._troubled:
                LOG.warning("slates wait: %s", error)
            self._troubled = True
            return False
        self._troubled = False
        return True
