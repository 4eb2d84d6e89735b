"""How fast a client may ask: a bucket of tokens that fills again, and a count of the day."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

MOST = 100_000
"""Clients that are remembered; of more, those that asked longest ago are forgotten, and begin anew."""
DAY = 86_400


@dataclass
class Bucket:
    """What one client has left."""

    tokens: float
    at: float
    day: int = 0
    asked: int = 0


class Buckets:
    """The buckets of all clients; used by the event loop alone."""

    def __init__(self, clock: Callable[[], float] = time.monotonic, days: Callable[[], float] = time.time) -> None:
        self._clock, self._days = clock, days
        self._all: OrderedDict[str, Bucket] = OrderedDict()

    def take(self, who: str, rate: float, burst: float, daily: float | None = None) -> float:
        """Take a token: 0 if there was one, else the seconds until there is.

        ``rate`` tokens come back each second, ``burst`` is the most that lie there, ``daily`` the most of a day (UTC).
        """
        now, today = self._clock(), self._days()
        bucket = self._all.get(who)
        if bucket is None:
            bucket = self._all[who] = Bucket(burst, now)
            if len(self._all) > MOST:
                self._all.popitem(last=False)
        self._all.move_to_end(who)
        bucket.tokens = min(burst, bucket.tokens + rate * max(0.0, now - bucket.at))
        bucket.at = now
        if bucket.day != int(today // DAY):
            bucket.day, bucket.asked = int(today // DAY), 0
        if daily is not None and bucket.asked >= daily:
            return DAY - today % DAY
        if bucket.tokens < 1:
            return (1 - bucket.tokens) / rate
        bucket.tokens -= 1
        bucket.asked += 1
        return 0.0
