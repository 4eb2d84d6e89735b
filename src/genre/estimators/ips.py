"""Rewards, weighed by how much likelier the judged policy shows what was shown."""

from __future__ import annotations

from typing import ClassVar, Literal

from genre.component import component
from genre.estimators import Estimate, Evidence


@component
class IPS:
    """Inverse propensity scoring: right on average with true propensities, and unsteady where weights are large.

    Of a slate as a whole, so for lists of more than two or three places take `cascade_dr` or `independent`.
    Horvitz and Thompson (1952), https://doi.org/10.2307/2280784.
    """

    needs: ClassVar[Literal["propensities"]] = "propensities"

    def estimate(self, evidence: Evidence) -> Estimate:
        weights = evidence.weights
        return Estimate.mean(weights * evidence.reward.sum(1), weights)
