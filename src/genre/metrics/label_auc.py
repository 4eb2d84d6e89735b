"""Area under the ROC curve of a head's predictions."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np

from genre.component import component
from genre.metrics import Predictions, Values


@component
class LabelAUC:
    """Chance that a random positive row is scored above a random negative one, ties half; NaN with one class only.

    Pools all rows, so it rewards knowing who says yes often; grouped_auc compares within each user alone.
    """

    needs: ClassVar[Literal["binary"]] = "binary"
    larger_is_better: ClassVar[bool] = True

    def measure(self, outcome: Predictions) -> Values:
        from scipy.stats import rankdata

        positive = outcome.truth > 0.5
        n, m = int(positive.sum()), int((~positive).sum())
        if not n or not m:
            return {"label_auc": np.array(np.nan)}
        place = rankdata(outcome.prediction)
        return {"label_auc": np.array((place[positive].sum() - n * (n + 1) / 2) / (n * m))}
