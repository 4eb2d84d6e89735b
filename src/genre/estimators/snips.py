"""A weighted mean of rewards."""

from __future__ import annotations

from typing import ClassVar, Literal

from genre.component import component
from genre.estimators import Estimate, Evidence


@component
class SNIPS:
    """Inverse propensity scoring, divided by the mean weight: stays within the rewards' range, at a small bias.

    Steadier than `ips`, needs no choice as `clipped_ips` does; what to take where no reward model can be had.
    Swaminathan and Joachims (2015), https://papers.nips.cc/paper/5748.
    """

    needs: ClassVar[Literal["propensities"]] = "propensities"

    def estimate(self, evidence: Evidence) -> Estimate:
        weights = evidence.weights
        return Estimate(weights * evidence.reward.sum(1), weights, weights)
