"""Places of a slate, each by itself."""

from __future__ import annotations

from typing import ClassVar, Literal

from genre.component import component
from genre.estimators import Estimate, Evidence


@component
class Independent:
    """Inverse propensity scoring place by place: far steadier than `ips` of the whole slate, for lists of any length.

    Right on average if what a place earns does not depend on what stands in the others; where people read from the top
    and stop, take `cascade_dr`. Li et al. (2018), https://arxiv.org/abs/1804.10488.
    """

    needs: ClassVar[Literal["propensities"]] = "propensities"

    def estimate(self, evidence: Evidence) -> Estimate:
        target = evidence.target if evidence.target_there is None else evidence.target_there
        logged = evidence.logged if evidence.logged_there is None else evidence.logged_there
        weights = target / logged
        return Estimate.mean((weights * evidence.reward).sum(1), weights[:, -1])
