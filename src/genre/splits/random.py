"""Events at random."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from genre.component import component
from genre.data import PARTS, Log

TRAIN, VALID, TEST = range(len(PARTS))
Share = Annotated[float, Field(gt=0, lt=0.5)]


@component
class Random:
    """A random share of each user's events: for logs without order, and to compare with publications that did so.

    The model sees events later than those it is asked about, so results are far higher than with `last` or `time`.
    """

    valid: Share = 0.1
    """Share of a user's events that validate; larger is steadier and leaves less to train on."""
    test: Share = 0.2
    """Share of a user's events that test; likewise."""

    def assign(self, log: Log, seed: int) -> tuple[NDArray[np.int8], dict[str, Any]]:
        rng = np.random.default_rng([seed, 1])
        order = np.lexsort((rng.random(len(log)), log.user))
        total = np.bincount(log.user, minlength=log.n_users)
        place = np.empty(len(log), dtype=np.int64)
        place[order] = np.arange(len(log)) - np.repeat(np.cumsum(total) - total, total)
        n_test, n_valid = np.round(total * self.test), np.round(total * self.valid)
        part = np.where(place < n_test[log.user], TEST, np.where(place < (n_test + n_valid)[log.user], VALID, TRAIN))
        return part.astype(np.int8), {"ordered": False}
