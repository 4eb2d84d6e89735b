"""The split that the data came with."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from genre.component import component
from genre.data import PARTS, UNUSED, Log
from genre.errors import DataError

TRAIN, VALID, _ = range(len(PARTS))
Share = Annotated[float, Field(gt=0, lt=0.5)]


@component
class Given:
    """The ``part`` column of the log says it: ``train``, ``valid``, ``test``; an empty word keeps a row for histories.

    To compare with publications that hand out their own split. Where it has no validation rows, some of the training
    rows become such: the latest where times are known, else some at random; what was shown together stays together.
    """

    valid: Share = 0.1
    """Share of the training rows that validate where the source names none; larger is steadier and leaves less to train
    on. Of a source that names its own it changes nothing."""

    def assign(self, log: Log, seed: int) -> tuple[NDArray[np.int8], dict[str, Any]]:
        if (log.part == UNUSED).all():
            words = ", ".join(PARTS)
            raise DataError(f"split 'given' needs a 'part' column in the log, with the words {words}")
        part = log.part.copy()
        if not (part == VALID).any():
            part[self._chosen(log, seed)] = VALID
        return part, {"ordered": False, "drawn": int((part != log.part).sum())}

    def _chosen(self, log: Log, seed: int) -> NDArray[np.int64]:
        """Training rows to validate on: the last by time, or by chance, and all that was shown together with them."""
        rows = np.flatnonzero(log.part == TRAIN)
        impression, time = log.impression[rows], log.time[rows]
        _, unit = np.unique(np.where(impression >= 0, impression, -1 - rows), return_inverse=True)
        chance = np.random.default_rng([seed, 1]).random(len(rows))[unit]
        order = np.lexsort((chance, np.nan_to_num(time, nan=-np.inf)))
        chosen = order[len(rows) - round(len(rows) * self.valid) :]
        return rows[np.isin(unit, unit[chosen])]
