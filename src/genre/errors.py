"""Errors that are a user's to mend. The command line prints their text alone, without a traceback."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Self


class GenreError(Exception):
    """Something the user can put right; the text says what, where and how."""

    code: str = ""
    """Names the error for programs that say it in other words, with ``values``; empty for one that has no name."""
    values: Mapping[str, Any] = MappingProxyType({})

    def coded(self, code: str, **values: Any) -> Self:
        """The same error with a name."""
        self.code, self.values = code, values
        return self


class ConfigError(GenreError):
    """One or more mistakes in a configuration; ``problems`` holds a line for each."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class DataError(GenreError):
    """Input data that cannot be used as it is."""


class RunError(GenreError):
    """A run folder or model folder that is missing, damaged or from another version."""
