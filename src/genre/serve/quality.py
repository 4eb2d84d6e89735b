"""The quality factor: fewer candidates while slates take too long, and all of them again once they do not."""

from __future__ import annotations

import math
import threading

import numpy as np

LEAST, WHOLE = 0.1, 1.0
DOWN, UP = 0.7, 1.15
"""What the share is multiplied by in one step: down in a few seconds, up again in some more."""
EASY = 0.8
"""Share of the target below which there is room for more candidates; between the two nothing changes."""
ENOUGH = 20
"""Slates of which a percentile says something."""
KEPT = 10_000
FLOOR = 20
"""Candidates of a source that are never left out."""


class Quality:
    """The share of each source's candidates that is asked for.

    Twitter's name for it, and the idea: https://github.com/twitter/the-algorithm (quality factor of candidate sources).
    """

    def __init__(self, target: float = math.inf) -> None:
        self.target, self.share, self.p95 = target, WHOLE, 0.0
        self._took: list[float] = []
        self._lock = threading.Lock()

    @property
    def reduced(self) -> bool:
        """Whether anything is left out now."""
        return self.share < WHOLE

    def of(self, top_k: int | None) -> int | None:
        """How many candidates a source of so many is asked for."""
        return top_k if top_k is None else max(math.ceil(top_k * self.share), min(top_k, FLOOR))

    def took(self, seconds: float) -> None:
        """Note how long a slate of the model took."""
        with self._lock:
            if len(self._took) < KEPT:
                self._took.append(seconds)

    def adjust(self) -> None:
        """Take a step, by what was noted since the last. Without requests there is nothing to spare for."""
        with self._lock:
            if 0 < len(self._took) < ENOUGH:
                return
            took, self._took = self._took, []
        self.p95 = float(np.quantile(took, 0.95)) if took else 0.0
        if self.p95 > self.target:
            self.share = max(LEAST, self.share * DOWN)
        elif self.p95 < EASY * self.target:
            self.share = min(WHOLE, self.share * UP)
