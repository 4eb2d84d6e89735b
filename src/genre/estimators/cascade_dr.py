"""Slates that are read from the top, doubly robust."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np

from genre.component import component
from genre.estimators import Doubles, Estimate, Evidence


@component
class CascadeDR:
    """Each place is weighed by it and those above it, and corrects what a reward model expects of the rest of the list.

    Right on average if what a place earns does not depend on those below it; with one place it is `doubly_robust`.
    Steadier than `ips`, less so than `independent`, which assumes more. Kiyohara et al. (2022),
    https://arxiv.org/abs/2202.01562.
    """

    needs: ClassVar[Literal["both"]] = "both"

    def estimate(self, evidence: Evidence) -> Estimate:
        assert evidence.expected is not None
        assert evidence.predicted is not None
        outlook = evidence.expected if evidence.outlook is None else evidence.outlook
        # What the places below are expected to earn; the same whatever is at this one, so it only steadies.
        below = np.cumsum(outlook[:, ::-1], 1)[:, ::-1] - outlook
        weights: Doubles = np.asarray(np.cumprod(evidence.target / evidence.logged, 1), dtype=np.float64)
        above = np.concatenate([np.ones((len(weights), 1)), weights[:, :-1]], 1)
        terms: Doubles = weights * (evidence.reward - evidence.predicted - below) + above * (evidence.expected + below)
        return Estimate.mean(terms.sum(1), weights[:, -1])
