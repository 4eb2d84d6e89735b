"""The words of the console in every language; ``words.yaml`` beside this has them, a line a key."""

from __future__ import annotations

import functools
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

Language = Literal["en", "zh"]
LANGUAGES: tuple[Language, ...] = ("en", "zh")
TABLE = Path(__file__).with_name("words.yaml")


@functools.cache
def table() -> dict[str, list[str]]:
    """Every key with its words, in the order of `LANGUAGES`."""
    return yaml.safe_load(TABLE.read_text(encoding="utf-8"))


@dataclass(frozen=True)
class Speech:
    """The words of one language."""

    language: Language

    def __call__(self, key: str, **values: Any) -> str:
        """The words of a key, with values put in."""
        return table()[key][LANGUAGES.index(self.language)].format(**values)

    def known(self, key: str, **values: Any) -> str | None:
        """The same, None where there is no such key."""
        return self(key, **values) if key in table() else None

    def of(self, key: str, values: Mapping[str, Any], otherwise: str) -> str:
        """The words of a key that the API gave; ``otherwise`` for one that is not known here, or lacks a value."""
        try:
            return self.known(key, **values) or otherwise
        except (KeyError, IndexError, ValueError, TypeError):
            return otherwise

    def list(self, parts: list[str]) -> str:
        """Several things one after the other."""
        return self("between").join(parts)

    def when(self, at: float) -> str:
        """A time, by this machine's clock."""
        return time.strftime("%Y-%m-%d %H:%M", time.localtime(at))

    def span(self, seconds: float) -> str:
        """How long something takes or took."""
        for unit, size in (("days", 86400), ("hours", 3600), ("minutes", 60)):
            if seconds >= 2 * size:
                return self(f"span.{unit}", n=f"{seconds / size:.0f}")
        return self("span.seconds", n=f"{seconds:.0f}")
