"""The split that the data came with."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from genre.component import component
from genre.data import PARTS, UNUSED, Log
from genre.errors import DataError


@component
class Given:
    """The ``part`` column of the log says it: ``train``, ``valid``, ``test``; an empty word keeps a row for histories.

    To compare with publications that hand out their own split.
    """

    def assign(self, log: Log, seed: int) -> tuple[NDArray[np.int8], dict[str, Any]]:
        if (log.part == UNUSED).all():
            words = ", ".join(PARTS)
            raise DataError(f"split 'given' needs a 'part' column in the log, with the words {words}")
        return log.part.copy(), {"ordered": False}
