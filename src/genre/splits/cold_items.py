"""Items never seen in training."""

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
class ColdItems:
    """All events of some random items are the test: can the system recommend what nobody has had yet?

    Validation has cold items of its own. Only what knows an item by its text can find it. For new people `cold_users`.
    """

    valid: Share = 0.1
    """Share of the items that validate; larger is steadier and leaves less to train on."""
    test: Share = 0.1
    """Share of the items that test; likewise."""

    def assign(self, log: Log, seed: int) -> tuple[NDArray[np.int8], dict[str, Any]]:
        used = np.unique(log.item[log.positive])
        shuffled = np.random.default_rng([seed, 2]).permutation(used)
        n_test, n_valid = max(1, round(len(used) * self.test)), max(1, round(len(used) * self.valid))
        of_item = np.full(log.n_items, TRAIN)
        of_item[shuffled[:n_test]] = TEST
        of_item[shuffled[n_test : n_test + n_valid]] = VALID
        part = of_item[log.item]
        return part.astype(np.int8), {"ordered": False, "cold_items": {"valid": n_valid, "test": n_test}}
