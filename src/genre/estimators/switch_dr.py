"""Doubly robust where weights are small, the reward model alone where they are not."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
from pydantic import PositiveFloat

from genre.component import component
from genre.estimators import Estimate, Evidence


@component
class SwitchDR:
    """`doubly_robust` that leaves out corrections of large weight: steadier where the policies differ much.

    Wang et al. (2017), https://arxiv.org/abs/1612.01205.
    """

    most: PositiveFloat = 10.0
    """Weight above which the model alone is asked; larger is nearer to `doubly_robust`, smaller to `direct`."""

    needs: ClassVar[Literal["both"]] = "both"

    def estimate(self, evidence: Evidence) -> Estimate:
        assert evidence.expected is not None
        assert evidence.predicted is not None
        outlook = evidence.expected if evidence.outlook is None else evidence.outlook
        weights = np.where(evidence.weights <= self.most, evidence.weights, 0.0)
        return Estimate.mean(outlook.sum(1) + weights * (evidence.reward - evidence.predicted).sum(1), weights)
