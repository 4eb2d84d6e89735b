"""What the rank metrics with cut-offs share: hits within the first k places, as one padded matrix."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from genre.metrics import Ranking


def sorted_ranks(outcome: Ranking) -> NDArray[np.float64]:
    """Ranks of each unit's relevant items, ascending: ``[units, most]``, infinite where there are fewer."""
    counts = _counts(outcome)
    padded = np.full((len(counts), max(1, int(counts.max(initial=0)))), np.inf)
    # A mask is filled row by row, which is the order of the ranks.
    padded[np.arange(padded.shape[1]) < counts[:, None]] = np.concatenate([*outcome.ranks, np.zeros(0)])
    padded.sort(axis=1)
    return padded


def relevant(outcome: Ranking) -> NDArray[np.float64]:
    """Number of relevant items of each unit, NaN for none, where no metric is defined."""
    counts = _counts(outcome).astype(np.float64)
    counts[counts == 0] = np.nan
    return counts


def _counts(outcome: Ranking) -> NDArray[np.int64]:
    return np.fromiter(map(len, outcome.ranks), dtype=np.int64, count=len(outcome.ranks))
