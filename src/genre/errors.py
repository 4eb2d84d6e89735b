"""Errors that are a user's to mend. The command line prints their text alone, without a traceback."""

from __future__ import annotations


class GenreError(Exception):
    """Something the user can put right; the text says what, where and how."""


class ConfigError(GenreError):
    """One or more mistakes in a configuration; ``problems`` holds a line for each."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class DataError(GenreError):
    """Input data that cannot be used as it is."""


class RunError(GenreError):
    """A run folder or model folder that is missing, damaged or from another version."""
