"""Log-loss of a head's probabilities."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np

from genre.component import component
from genre.metrics import Predictions, Values


@component
class LogLoss:
    """-log of the probability given to what happened, a value a row, in nats; probabilities are clipped at 1e-7."""

    needs: ClassVar[Literal["binary"]] = "binary"
    larger_is_better: ClassVar[bool] = False

    def measure(self, outcome: Predictions) -> Values:
        p = np.clip(outcome.prediction.astype(np.float64), 1e-7, 1 - 1e-7)
        return {"logloss": -np.where(outcome.truth > 0.5, np.log(p), np.log1p(-p))}
