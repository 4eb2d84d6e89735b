"""Trackers: where learning curves and results are sent, besides the run folder, which always has them.

What is sent: the configuration; after each epoch the losses and weights of the tasks, validation, gradient norms, speed
and memory; at the end the measures of the evaluation, sample recommendations, calibration and confusion plots of the
heads, and where the files lie.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol


@dataclass(frozen=True)
class Tracked:
    """The run that is followed."""

    name: str
    folder: Path
    """The run's own."""
    config: dict[str, Any]
    """Every setting, as plain data."""
    done: int = 0
    """Epochs that were sent before; those after them are trained anew, after a kill."""


@dataclass(frozen=True)
class Result:
    """What a run came to."""

    values: dict[str, float]
    """Measures, such as ``genre/ndcg@10``."""
    examples: list[dict[str, str]] = field(default_factory=list)
    """Recommendations of a few people: ``user``, ``history``, and what each system shows."""
    files: dict[str, Path] = field(default_factory=dict)
    """By what they are."""
    pictures: dict[str, bytes] = field(default_factory=dict)
    """PNG, such as ``calibration/like`` and ``confusion/stars``: what heads predict against what is so."""


class Session(Protocol):
    """One run as a tracker sees it."""

    def log(self, step: int, values: dict[str, float]) -> None:
        """The numbers of an epoch, counted from 1 over all phases."""
        ...

    def finish(self, result: Result | None) -> None:
        """Flush and close; ``result`` is None at the end of a training, which is not the end of the run."""
        ...


class Tracker(Protocol):
    """One place to send to."""

    def start(self, run: Tracked) -> Session:
        """Begin, or go on with, the same run. Raises `GenreError` where the place cannot be had."""
        ...
