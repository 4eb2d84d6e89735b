"""Log-loss of the probabilities of classes."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np

from genre.component import component
from genre.metrics import Predictions, Values


@component
class MulticlassLogLoss:
    """-log of the probability given to the class that it was, a value a row, in nats; clipped at 1e-7.

    The lowest that a probability of 1 / classes can get is log(classes); a class that training lacks has none.
    """

    needs: ClassVar[Literal["multiclass"]] = "multiclass"
    larger_is_better: ClassVar[bool] = False

    def measure(self, outcome: Predictions) -> Values:
        if not len(outcome.truth):
            return {"multiclass_logloss": np.zeros(0)}
        place = outcome.place
        given = outcome.prediction[np.arange(len(place)), place].astype(np.float64)
        return {"multiclass_logloss": -np.log(np.where(place < 0, 1e-7, given.clip(1e-7, 1)))}
