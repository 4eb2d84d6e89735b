"""What a reward model expects of the judged policy."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np

from genre.component import component
from genre.estimators import Estimate, Evidence


@component
class Direct:
    """The direct method: no weights, so it is steady, and as wrong as the reward model is.

    Its interval says nothing of that error: take it as a second opinion beside `doubly_robust`, or where the log has no
    propensities. Beygelzimer and Langford (2009), https://arxiv.org/abs/0812.4044.
    """

    needs: ClassVar[Literal["model"]] = "model"

    def estimate(self, evidence: Evidence) -> Estimate:
        assert evidence.expected is not None
        outlook = evidence.expected if evidence.outlook is None else evidence.outlook
        return Estimate.mean(outlook.sum(1), np.ones(len(evidence)))
