"""Rewards, weighed with a limit."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
from pydantic import PositiveFloat

from genre.component import component
from genre.estimators import Estimate, Evidence


@component
class ClippedIPS:
    """Inverse propensity scoring whose weights go no higher than ``most``: steadier, and too low for good policies.

    With rewards of 0 and more it errs on the careful side, which suits a gate. Bottou et al. (2013),
    https://jmlr.org/papers/v14/bottou13a.html.
    """

    most: PositiveFloat = 10.0
    """Highest weight; larger errs less and is less steady."""

    needs: ClassVar[Literal["propensities"]] = "propensities"

    def estimate(self, evidence: Evidence) -> Estimate:
        weights = np.minimum(evidence.weights, self.most)
        return Estimate.mean(weights * evidence.reward.sum(1), weights)
