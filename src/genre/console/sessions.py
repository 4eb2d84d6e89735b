"""Who looks: a browser's key, language and colours, kept in the memory of the console and nowhere else."""

from __future__ import annotations

import time
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any

from genre.console.words import LANGUAGES, Language

IDLE = 12 * 3600.0
"""Seconds after which an unused session is forgotten, and its key with it."""
MOST = 10_000
"""Sessions that are kept."""


@dataclass
class Session:
    """One browser."""

    key: str | None = field(default=None, repr=False)
    language: Language = "en"
    dark: bool | None = None
    """None follows the system."""
    draft: dict[tuple[str | int, ...], Any] = field(default_factory=dict)
    """Settings that were changed in the form, by their path."""
    used: float = field(default_factory=time.monotonic)


class Sessions:
    """All browsers of late, by the number in their signed cookie."""

    def __init__(self) -> None:
        self._all: OrderedDict[str, Session] = OrderedDict()

    def get(self, number: str, accepts: str = "") -> Session:
        """The session of a number, made where there is none, in the language that the browser ``accepts`` first."""
        now = time.monotonic()
        while self._all and (now - next(iter(self._all.values())).used > IDLE or len(self._all) > MOST):
            self._all.popitem(last=False)
        session = self._all.get(number)
        if session is None:
            session = self._all[number] = Session(language=preferred(accepts))
        session.used = now
        self._all.move_to_end(number)
        return session


def preferred(accepts: str) -> Language:
    """The language of a header Accept-Language that comes first among those there are."""
    for part in accepts.lower().split(","):
        for language in LANGUAGES:
            if part.strip().startswith(language):
                return language
    return "en"
