"""What the rank metrics with cut-offs share: hits within the first k places, as one padded matrix."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from genre.metrics import Ranking


def sorted_ranks(outcome: Ranking) -> NDArray[np.float64]:
    """Ranks of each unit's relevant items, ascending: ``[units, most]``, infinite where there are fewer."""
    most = max((len(r) for r in outcome.ranks), default=0)
    padded = np.full((len(outcome.ranks), max(1, most)), np.inf)
    for i, one in enumerate(outcome.ranks):
        padded[i, : len(one)] = np.sort(one)
    return padded


def relevant(outcome: Ranking) -> NDArray[np.float64]:
    """Number of relevant items of each unit, NaN for none, where no metric is defined."""
    counts = np.array([len(r) for r in outcome.ranks], dtype=np.float64)
    counts[counts == 0] = np.nan
    return counts
