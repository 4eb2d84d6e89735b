"""How far two distributions of numbers lie apart."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from genre.component import component
from genre.detectors import Found, Watched


@component
class KolmogorovSmirnov:
    """The largest distance between the two cumulative distributions, where chance and size both say that it matters.

    For numbers whose order in time tells nothing, such as lengths and scores; a stream is for `adwin`. Of many rows
    any difference is beyond chance, so the distance itself has to be large too. Through scipy.
    """

    distance: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """Distance below which a difference does not matter; larger is deafer."""
    chance: Annotated[float, Field(gt=0, lt=1)] = 1e-3
    """Chance of such a distance where nothing moved; larger hears more, and more that is none."""

    reads: ClassVar[Literal["stream", "numbers", "words", "people"]] = "numbers"

    def detect(self, watched: Watched) -> Found:
        from scipy.stats import ks_2samp

        found: Any = ks_2samp(watched.before, watched.now, method="asymp")
        distance = float(found.statistic)
        medians = f"median {np.median(watched.before):.4g} before, {np.median(watched.now):.4g} now"
        return Found(distance > self.distance and float(found.pvalue) < self.chance, distance, self.distance, medians)
