"""Root mean squared error of a head's amounts."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np

from genre.component import component
from genre.metrics import Predictions, Values


@component
class RMSE:
    """Root of the mean squared error, in the label's unit; large errors weigh more than in mae."""

    needs: ClassVar[Literal["regression"]] = "regression"
    larger_is_better: ClassVar[bool] = False

    def measure(self, outcome: Predictions) -> Values:
        if not len(outcome.truth):
            return {"rmse": np.array(np.nan)}
        error = outcome.prediction.astype(np.float64) - outcome.truth
        return {"rmse": np.array(np.sqrt(np.square(error).mean()))}
