"""Whole impressions, by time."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from genre.component import component
from genre.data import PARTS, Log
from genre.errors import DataError

TRAIN, VALID, TEST = range(len(PARTS))
Share = Annotated[float, Field(gt=0, lt=0.5)]


@component
class Impressions:
    """What was shown together stays together: the latest impressions are the test. For logs of clicks and skips.

    Rank within an impression with ``evaluate.candidates: impression``. Rows that belong to none are for training.
    """

    valid: Share = 0.1
    """Share of the impressions, by time, that validate; larger is steadier and leaves less to train on."""
    test: Share = 0.1
    """Share of the impressions, the latest, that test; likewise."""

    def assign(self, log: Log, seed: int) -> tuple[NDArray[np.int8], dict[str, Any]]:
        shown = log.impression >= 0
        if not shown.any():
            raise DataError(
                "split 'impressions' needs an impression_id column; use 'last' or 'time', or add the column"
            )
        n = int(log.impression.max()) + 1
        first = np.full(n, np.inf)
        when = np.where(np.isnan(log.time), np.arange(len(log)), log.time)
        np.minimum.at(first, log.impression[shown], when[shown])
        order = np.argsort(first, kind="stable")
        n_test, n_valid = max(1, round(n * self.test)), max(1, round(n * self.valid))
        of_impression = np.full(n, TRAIN)
        of_impression[order[n - n_test :]] = TEST
        of_impression[order[n - n_test - n_valid : n - n_test]] = VALID
        part = np.where(shown, of_impression[np.maximum(log.impression, 0)], TRAIN)
        timed = not np.isnan(log.time[shown]).any()
        facts = {"ordered": False, "impressions": {"valid": n_valid, "test": n_test}, "by_time": timed}
        return part.astype(np.int8), facts
