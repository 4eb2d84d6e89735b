"""People who are far from the middle of all others."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field, NonNegativeInt, PositiveFloat

from genre.component import component
from genre.detectors import Found, Watched


@component
class RobustDistance:
    """Finds who is further from the middle than anybody should be, by a covariance that outliers cannot bend.

    Takes numbers that lie about a middle; for columns of odd shapes take `isolation_forest`. Rousseeuw and Van Driessen
    (1999), https://doi.org/10.1080/00401706.1999.10485670, through scikit-learn.
    """

    chance: Annotated[float, Field(gt=0, lt=1)] = 1e-3
    """Chance that anybody at all is named where all are alike; larger finds more, and more who are none."""
    slack: PositiveFloat = 3.0
    """How many times as far as that people have to be, squared, as no real column is quite normal; larger finds
    fewer."""
    seed: NonNegativeInt = 0
    """Of the samples that the covariance is looked for in."""

    reads: ClassVar[Literal["stream", "numbers", "words", "people"]] = "people"

    def detect(self, watched: Watched) -> Found:
        from scipy.stats import chi2
        from sklearn.covariance import MinCovDet

        everyone = np.concatenate([watched.before, watched.now]).astype(np.float64)
        varied = everyone.std(0) > 1e-9
        if not varied.any():
            return Found(False, 0.0, 1.0, "all are alike")
        scale = everyone[:, varied].std(0)
        # A hair of noise keeps columns that hang together from having no inverse.
        noise = np.random.default_rng(self.seed).normal(0, 1e-3, (len(everyone), int(varied.sum())))
        made = everyone[:, varied] / scale + noise
        fitted = MinCovDet(random_state=self.seed, support_fraction=0.75).fit(made)
        distances = fitted.mahalanobis(made[len(watched.before) :])
        limit = self.slack * float(chi2.ppf(1 - self.chance / len(distances), int(varied.sum())))
        odd = np.flatnonzero(distances > limit)
        odd = odd[np.argsort(-distances[odd], kind="stable")]
        why = (
            f"{len(odd)} of {len(distances)} people are far from the rest"
            if len(odd)
            else "nobody is far from the rest"
        )
        return Found(bool(len(odd)), float(distances.max()), limit, why, tuple(odd.tolist()))
