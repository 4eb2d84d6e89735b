"""Leave the last ones out."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import NonNegativeInt, PositiveInt

from genre.component import component
from genre.data import PARTS, Log

TRAIN, VALID, TEST = range(len(PARTS))


@component
class Last:
    """Each user's last events are the test, those before them the validation: the protocol of sequential benchmarks.

    Every user is judged, but at different times, so popularity of the future leaks in; `time` has no such leak.
    Users with too few events stay in training. A skip belongs to the part of the event that it was passed over for.
    """

    valid: PositiveInt = 1
    """Events a user that validate; more are steadier and leave less to train on."""
    test: PositiveInt = 1
    """Events a user that test; likewise."""
    at_least: NonNegativeInt = 1
    """Events that must be left for training; users with fewer are trained on whole. Larger judges fewer users."""

    def assign(self, log: Log, seed: int) -> tuple[NDArray[np.int8], dict[str, Any]]:
        positive = log.positive
        total = np.bincount(log.user[positive], minlength=log.n_users)
        left = log.events_left()
        part = np.where(left <= self.test, TEST, np.where(left <= self.test + self.valid, VALID, TRAIN))
        short = total < self.valid + self.test + max(self.at_least, 1)
        part[short[log.user]] = TRAIN
        facts = {
            "ordered": True,
            "users_judged": int((~short & (total > 0)).sum()),
            "users_too_short": int((short & (total > 0)).sum()),
            "tied_targets": _tied(log, part),
        }
        return part.astype(np.int8), facts


def _tied(log: Log, part: NDArray[Any]) -> float | None:
    """Share of the test events that have the same time as another event of their user; None without times."""
    test = (part == TEST) & log.positive
    if not test.any() or np.isnan(log.time).all():
        return None
    near = np.zeros(len(log), dtype=bool)
    same = (np.diff(log.user) == 0) & (np.diff(log.time) == 0)
    near[1:] |= same
    near[:-1] |= same
    return round(float(near[test].mean()), 4)
