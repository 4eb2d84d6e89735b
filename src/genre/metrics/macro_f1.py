"""F1 of the classes, each weighed the same."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np

from genre.component import component
from genre.metrics import Predictions, Values


@component
class MacroF1:
    """F1 of the likeliest class, of each class that occurs or is named, and of these the mean.

    Rare classes weigh as much as frequent ones, unlike in accuracy. Labels that training lacks are one class more,
    which is never named.
    """

    needs: ClassVar[Literal["multiclass"]] = "multiclass"
    larger_is_better: ClassVar[bool] = True

    def measure(self, outcome: Predictions) -> Values:
        if not len(outcome.truth):
            return {"macro_f1": np.array(np.nan)}
        n, truth, named = outcome.prediction.shape[1], outcome.place, outcome.prediction.argmax(-1)
        # What training lacks has place -1: the last of n + 1.
        right = np.bincount(truth[truth == named], minlength=n + 1)
        either = np.bincount(truth % (n + 1), minlength=n + 1) + np.bincount(named, minlength=n + 1)
        return {"macro_f1": np.array((2 * right[either > 0] / either[either > 0]).mean())}
