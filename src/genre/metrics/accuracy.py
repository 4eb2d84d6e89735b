"""Share of rows whose class is named right."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np

from genre.component import component
from genre.metrics import Predictions, Values


@component
class Accuracy:
    """1 where the likeliest class is the right one, else 0, a value a row.

    A frequent class counts for more than a rare one; macro_f1 weighs classes alike, multiclass_logloss looks at the
    probabilities.
    """

    needs: ClassVar[Literal["multiclass"]] = "multiclass"
    larger_is_better: ClassVar[bool] = True

    def measure(self, outcome: Predictions) -> Values:
        right = outcome.prediction.argmax(-1) == outcome.place if len(outcome.truth) else np.zeros(0)
        return {"accuracy": right.astype(np.float64)}
