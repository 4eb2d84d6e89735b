"""Detectors: whether what comes in now is still what came before."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

FEWEST = 30
"""Values before and now, below which nothing is said."""


@dataclass(frozen=True)
class Watched:
    """One thing that is watched: numbers, words, or a row of numbers for each person."""

    name: str
    before: NDArray[Any]
    """What is normal: ``[n]``, or ``[n, columns]`` of people; oldest first."""
    now: NDArray[Any]
    """What is judged, of the same shape but for its length."""
    columns: tuple[str, ...] = ()
    """Names of the columns, of people."""

    @property
    def enough(self) -> bool:
        """Whether there is enough to judge by."""
        return min(len(self.before), len(self.now)) >= FEWEST


@dataclass(frozen=True)
class Found:
    """What a detector says."""

    alarm: bool
    statistic: float
    threshold: float
    """What the statistic has to pass for an alarm; 0 for one that goes by the course of a stream."""
    why: str
    at: tuple[int, ...] = ()
    """Rows of ``now`` that it is about: when a stream changed, or which people stand out."""


class Detector(Protocol):
    """One way of noticing a change."""

    reads: ClassVar[Literal["stream", "numbers", "words", "people"]]
    """Numbers in the order of time, numbers or words whose order tells nothing, or rows of people."""

    def detect(self, watched: Watched) -> Found:
        """Judge ``now`` by ``before``; there is enough of both."""
        ...


def standard(watched: Watched) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """A stream before and now, in deviations of what was before from its mean."""
    mean, deviation = float(np.mean(watched.before)), float(np.std(watched.before)) or 1.0
    return (watched.before - mean) / deviation, (watched.now - mean) / deviation
