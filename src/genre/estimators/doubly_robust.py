"""What a reward model expects, corrected by what it was wrong about."""

from __future__ import annotations

from typing import ClassVar, Literal

from genre.component import component
from genre.estimators import Estimate, Evidence


@component
class DoublyRobust:
    """The direct method plus the weighted error of its model: right on average if either model or propensities are.

    The one to take where propensities are known and a slate has one place; the better the model, the steadier.
    Dudik et al. (2011), https://arxiv.org/abs/1103.4601.
    """

    needs: ClassVar[Literal["both"]] = "both"

    def estimate(self, evidence: Evidence) -> Estimate:
        assert evidence.expected is not None
        assert evidence.predicted is not None
        outlook = evidence.expected if evidence.outlook is None else evidence.outlook
        weights, wrong = evidence.weights, (evidence.reward - evidence.predicted).sum(1)
        return Estimate.mean(outlook.sum(1) + weights * wrong, weights)
