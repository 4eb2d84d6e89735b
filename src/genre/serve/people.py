"""What the store knows of people, kept in memory until something happens."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass

from genre.serve.caches import Cache
from genre.store import Store
from genre.store.records import Event


@dataclass(frozen=True)
class Past:
    """A user's latest events, oldest first."""

    events: tuple[Event, ...]
    serial: int
    """Another one whenever it was read anew, so that it can stand in a key for all that happened."""


class People:
    """Reads each user's events once; `forget` lets the next slate know of what happened since."""

    def __init__(self, store: Store, size: int, limit: int) -> None:
        self.store, self.limit = store, limit
        self._pasts: Cache[str, Past] = Cache(size)
        self._forgotten: Cache[str, int] = Cache(size)
        self._clock, self._serials = itertools.count(1), itertools.count(1)

    def known(self, user_id: str) -> Past | None:
        """What is in memory."""
        return self._pasts.get(user_id)

    def read(self, user_id: str) -> Past:
        """What is in memory, else in the store. Raises `StoreError`."""
        found = self._pasts.get(user_id)
        if found is not None:
            return found
        began = next(self._clock)
        past = Past(tuple(self.store.events.latest(user_id, self.limit)), next(self._serials))
        # What happened while it was read may be missing in it.
        if (self._forgotten.get(user_id) or 0) < began:
            self._pasts.put(user_id, past)
        return past

    def forget(self, users: Iterable[str | None]) -> None:
        """Something happened with these users."""
        now = next(self._clock)
        for user in users:
            if user is not None:
                self._forgotten.put(user, now)
                self._pasts.drop(user)
