"""People who are easily told from all others."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field, NonNegativeInt, PositiveInt

from genre.component import component
from genre.detectors import Found, Watched


@component
class IsolationForest:
    """Finds who is cut off from the rest by few random cuts, whatever makes them odd: bots, crawlers, broken clients.

    Takes any mixture of columns; for people who are far out in all of them together, `robust_distance` is surer. Liu,
    Ting and Zhou (2008), https://doi.org/10.1109/ICDM.2008.17, through scikit-learn.
    """

    least: Annotated[float, Field(gt=0.5, lt=1)] = 0.7
    """Score from which a person stands out: 0.5 is nobody in particular, 1 is alone. Larger finds fewer."""
    trees: PositiveInt = 200
    """Trees; more are steadier and slower."""
    seed: NonNegativeInt = 0
    """Of the cuts."""

    reads: ClassVar[Literal["stream", "numbers", "words", "people"]] = "people"

    def detect(self, watched: Watched) -> Found:
        from sklearn.ensemble import IsolationForest as Forest

        # A forest knows nothing beyond what it has seen, so that those who are judged grow it too.
        everyone = np.concatenate([watched.before, watched.now])
        forest = Forest(n_estimators=self.trees, random_state=self.seed).fit(everyone)
        scores = -forest.score_samples(watched.now)
        odd = np.flatnonzero(scores > self.least)
        odd = odd[np.argsort(-scores[odd], kind="stable")]
        why = f"{len(odd)} of {len(scores)} people stand out" if len(odd) else "nobody stands out"
        return Found(bool(len(odd)), float(scores.max()), self.least, why, tuple(odd.tolist()))
