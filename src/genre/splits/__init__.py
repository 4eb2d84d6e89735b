"""Splits: which interactions train, which choose, which judge. Each states its protocol."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from genre.data import Log


class Split(Protocol):
    """One protocol of dividing a log; ``log.part`` is all `UNUSED` unless the source names parts."""

    def assign(self, log: Log, seed: int) -> tuple[NDArray[np.int8], dict[str, Any]]:
        """Part of every row (index into `PARTS`, or `UNUSED`), and facts to report (ties, cut times, counts)."""
        ...
