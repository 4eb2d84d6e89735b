"""Events at random."""

from __future__ import annotations

from typing import Annotated, Any, Literal

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

    What was shown together stays together.
    The model sees events later than those it is asked about, so results are far higher than with `last` or `time`.
    """

    valid: Share = 0.1
    """Share of a user's events that validate; larger is steadier and leaves less to train on."""
    test: Share = 0.2
    """Share of a user's events that test; likewise."""
    per: Literal["user", "log"] = "user"
    """Whether the shares are of each user's events, or of all; of all where people have one each, as texts often do."""

    def assign(self, log: Log, seed: int) -> tuple[NDArray[np.int8], dict[str, Any]]:
        rng = np.random.default_rng([seed, 1])
        first, unit = _units(log)
        user = log.user[first] if self.per == "user" else np.zeros(len(first), dtype=np.int32)
        order = np.lexsort((rng.random(len(user)), user))
        total = np.bincount(user, minlength=log.n_users)
        place = np.empty(len(user), dtype=np.int64)
        place[order] = np.arange(len(user)) - np.repeat(np.cumsum(total) - total, total)
        n_test, n_valid = np.round(total * self.test), np.round(total * self.valid)
        part = np.where(place < n_test[user], TEST, np.where(place < (n_test + n_valid)[user], VALID, TRAIN))
        return part[unit].astype(np.int8), {"ordered": False}


def _units(log: Log) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """What is drawn as one, rows or whole impressions: the first row of each, and which of them each row belongs to."""
    rows = np.arange(len(log))
    if not (log.impression >= 0).any():
        return rows, rows
    keys = np.stack([log.user, np.where(log.impression >= 0, log.impression, -1 - rows)], axis=1)
    _, first, unit = np.unique(keys, axis=0, return_index=True, return_inverse=True)
    return first, unit.reshape(-1)
