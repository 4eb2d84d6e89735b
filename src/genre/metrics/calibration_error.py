"""Expected calibration error of a head's probabilities."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
from pydantic import PositiveInt

from genre.component import component
from genre.metrics import Predictions, Values


@component
class CalibrationError:
    """Mean distance between what was promised and what happened, over bins of about equally many rows.

    Rows of one prediction share a bin, so a constant is judged by its distance from the share that came true.
    Naeini et al. (2015), https://doi.org/10.1609/aaai.v29i1.9602.
    """

    bins: PositiveInt = 10
    """Number of bins; more see finer errors and more noise."""
    needs: ClassVar[Literal["binary"]] = "binary"
    larger_is_better: ClassVar[bool] = False

    def measure(self, outcome: Predictions) -> Values:
        if not len(outcome.truth):
            return {"calibration_error": np.array(np.nan)}
        prediction = outcome.prediction.astype(np.float64)
        first = np.searchsorted(np.sort(prediction), prediction)
        gaps = np.bincount(first * self.bins // len(first), weights=prediction - outcome.truth)
        return {"calibration_error": np.array(np.abs(gaps).sum() / len(first))}
