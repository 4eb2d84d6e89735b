"""Area under the ROC curve within each group."""

from __future__ import annotations

from itertools import pairwise
from typing import ClassVar, Literal

import numpy as np

from genre.component import component
from genre.metrics import Predictions, Values


@component
class GroupedAUC:
    """label_auc within each user (or impression), one value a group that has both classes.

    Says whether a person's own items are told apart, which is what a ranking needs; label_auc pools all people.
    """

    needs: ClassVar[Literal["binary"]] = "binary"
    larger_is_better: ClassVar[bool] = True

    def measure(self, outcome: Predictions) -> Values:
        from scipy.stats import rankdata

        order = np.argsort(outcome.group, kind="stable")
        group, positive, predicted = outcome.group[order], outcome.truth[order] > 0.5, outcome.prediction[order]
        bounds = np.concatenate([[0], np.flatnonzero(group[1:] != group[:-1]) + 1, [len(group)]])
        values = []
        for a, b in pairwise(bounds.tolist()):
            mine, n = positive[a:b], int(positive[a:b].sum())
            if 0 < n < b - a:
                values.append((rankdata(predicted[a:b])[mine].sum() - n * (n + 1) / 2) / (n * (b - a - n)))
        return {"grouped_auc": np.array(values if values else [np.nan])}
