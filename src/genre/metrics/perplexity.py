"""Perplexity of texts."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np

from genre.component import component
from genre.metrics import Predictions, Values


@component
class Perplexity:
    """Among how many words, all equally likely, the model might as well choose each word of a text.

    exp of the mean log-loss of a token, each text weighing the same. Two models compare only if their tokens do.
    """

    needs: ClassVar[Literal["text"]] = "text"
    larger_is_better: ClassVar[bool] = False

    def measure(self, outcome: Predictions) -> Values:
        if not len(outcome.truth):
            return {"perplexity": np.array(np.nan)}
        return {"perplexity": np.array(np.exp(-outcome.prediction.astype(np.float64).mean()))}
