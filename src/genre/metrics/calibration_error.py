"""Expected calibration error of a head's probabilities."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
from pydantic import PositiveInt

from genre.component import component
from genre.metrics import Predictions, Values


@component
class CalibrationError:
    """Mean distance between what was promised and what happened, over bins of equally many rows.

    Naeini et al. (2015), https://doi.org/10.1609/aaai.v29i1.9602.
    """

    bins: PositiveInt = 10
    """Number of bins; more see finer errors and more noise."""
    needs: ClassVar[Literal["binary"]] = "binary"
    larger_is_better: ClassVar[bool] = False

    def measure(self, outcome: Predictions) -> Values:
        if not len(outcome.truth):
            return {"calibration_error": np.array(np.nan)}
        order = np.argsort(outcome.prediction, kind="stable")
        bins = [b for b in np.array_split(order, self.bins) if len(b)]
        gaps = [abs(float(outcome.prediction[b].mean() - outcome.truth[b].mean())) * len(b) for b in bins]
        return {"calibration_error": np.array(sum(gaps) / len(order))}
