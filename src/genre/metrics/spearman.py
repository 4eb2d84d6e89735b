"""Rank correlation of a head's amounts."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np

from genre.component import component
from genre.metrics import Predictions, Values


@component
class Spearman:
    """Correlation of the ranks of labels and predictions, ties sharing a rank: 1 the same order, -1 the reverse.

    Looks at order only, where mae and rmse look at amounts; NaN where all labels or all predictions are equal.
    """

    needs: ClassVar[Literal["regression"]] = "regression"
    larger_is_better: ClassVar[bool] = True

    def measure(self, outcome: Predictions) -> Values:
        from scipy.stats import rankdata

        truth, predicted = (rankdata(one) - (len(one) + 1) / 2 for one in (outcome.truth, outcome.prediction))
        size = np.sqrt(np.square(truth).sum() * np.square(predicted).sum())
        return {"spearman": np.array(truth @ predicted / size if size > 0 else np.nan)}
