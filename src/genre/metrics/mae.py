"""Mean absolute error of a head's amounts."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np

from genre.component import component
from genre.metrics import Predictions, Values


@component
class MAE:
    """Absolute error, a value a row, in the label's unit; rmse weighs large errors more."""

    needs: ClassVar[Literal["regression"]] = "regression"
    larger_is_better: ClassVar[bool] = False

    def measure(self, outcome: Predictions) -> Values:
        return {"mae": np.abs(outcome.prediction.astype(np.float64) - outcome.truth)}
