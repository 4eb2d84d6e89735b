"""Whole impressions, by time."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from genre.component import component
from genre.data import PARTS, UNUSED, Log
from genre.errors import DataError

TRAIN, VALID, TEST = range(len(PARTS))
Share = Annotated[float, Field(gt=0, lt=0.5)]


@component
class Impressions:
    """What was shown together stays together: the latest impressions are the test. For logs of clicks and skips.

    Rank within an impression with ``evaluate.candidates: impression``. Rows that belong to none train where they lie
    before the first impression that validates, and fill histories only where they lie after it.
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
        if np.isnan(log.time[shown]).any():
            raise DataError("split 'impressions' needs a timestamp in every row; use 'given', or add the column")
        n = int(log.impression.max()) + 1
        first = np.full(n, np.inf)
        np.minimum.at(first, log.impression[shown], log.time[shown])
        order = np.argsort(first, kind="stable")
        n_test, n_valid = max(1, round(n * self.test)), max(1, round(n * self.valid))
        if n_test + n_valid >= n:
            raise DataError(f"split 'impressions' needs more than {n} impressions to train, validate and test on")
        of_impression = np.full(n, TRAIN)
        of_impression[order[n - n_test :]] = TEST
        of_impression[order[n - n_test - n_valid : n - n_test]] = VALID
        cut = float(first[order[max(0, n - n_test - n_valid)]])
        part = np.where(shown, of_impression[np.maximum(log.impression, 0)], np.where(log.time >= cut, UNUSED, TRAIN))
        facts = {"ordered": False, "impressions": {"valid": n_valid, "test": n_test}, "valid_from": cut}
        return part.astype(np.int8), facts
