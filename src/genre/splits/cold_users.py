"""People never seen in training."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, PositiveInt

from genre.component import component
from genre.data import PARTS, UNUSED, Log

TRAIN, VALID, TEST = range(len(PARTS))
Share = Annotated[float, Field(gt=0, lt=0.5)]


@component
class ColdUsers:
    """Some random users are kept out of training altogether: their last events are the test, their past is known.

    Their earlier events fill the history from which they are answered and train nothing. For new items `cold_items`.
    """

    valid: Share = 0.1
    """Share of the users that validate; larger is steadier and leaves less to train on."""
    test: Share = 0.1
    """Share of the users that test; likewise."""
    targets: PositiveInt = 1
    """Events of each such user, the last ones, that are judged; more are steadier and shorten the history."""

    def assign(self, log: Log, seed: int) -> tuple[NDArray[np.int8], dict[str, Any]]:
        used = np.unique(log.user[log.positive])
        shuffled = np.random.default_rng([seed, 3]).permutation(used)
        n_test, n_valid = max(1, round(len(used) * self.test)), max(1, round(len(used) * self.valid))
        of_user = np.full(log.n_users, TRAIN)
        of_user[shuffled[:n_test]] = TEST
        of_user[shuffled[n_test : n_test + n_valid]] = VALID
        cold = of_user[log.user] != TRAIN
        part = np.where(cold & (log.events_left() > self.targets), UNUSED, of_user[log.user])
        return part.astype(np.int8), {"ordered": True, "cold_users": {"valid": n_valid, "test": n_test}}
