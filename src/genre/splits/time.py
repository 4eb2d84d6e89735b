"""One cut in time for everybody."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from genre.component import component
from genre.data import PARTS, Log
from genre.errors import DataError

TRAIN, VALID, TEST = range(len(PARTS))
Share = Annotated[float, Field(gt=0, lt=1)]


@component
class Time:
    """Everything before a moment trains, everything after it is the test: what a live system meets.

    Nothing of the future leaks in, unlike `last`; users who appear only later are judged without a history.
    """

    valid: Share = 0.1
    """Share of the rows, by time, that validate; larger is steadier and leaves less to train on."""
    test: Share = 0.1
    """Share of the rows, the latest, that test; likewise."""

    def assign(self, log: Log, seed: int) -> tuple[NDArray[np.int8], dict[str, Any]]:
        untimed = int(np.isnan(log.time).sum())
        if untimed:
            mend = f"or add the timestamps: {untimed} of {len(log)} rows have none"
            raise DataError(f"split 'time' needs a timestamp in every row; use 'last' or 'random', {mend}")
        if self.valid + self.test >= 1:
            raise DataError(f"split 'time': valid {self.valid} and test {self.test} leave nothing to train on")
        ordered = np.sort(log.time)
        cut_valid = float(ordered[int(len(ordered) * (1 - self.valid - self.test))])
        cut_test = float(ordered[int(len(ordered) * (1 - self.test))])
        part = np.where(log.time >= cut_test, TEST, np.where(log.time >= cut_valid, VALID, TRAIN))
        return part.astype(np.int8), {"ordered": True, "valid_from": cut_valid, "test_from": cut_test}
