"""Where a candidate stands with each source."""

from __future__ import annotations

import numpy as np

from genre.candidates import Candidates
from genre.component import component
from genre.data import Histories, Log
from genre.sources import Resources
from genre.types import Floats, State


@component
class Standing:
    """Of each source its score as deviations from the person's mean, its rank, and how far it is behind the best.

    A score alone says how sure a source is, these say what it prefers: a count of 3 is much for one person and little
    for another.
    """

    def fit(self, log: Log, resources: Resources) -> State:
        return {}

    def values(
        self, state: State, candidates: Candidates, histories: Histories, resources: Resources
    ) -> dict[str, Floats]:
        columns: dict[str, Floats] = {}
        for name, score in candidates.scores.items():
            relative = candidates.standardised(score)
            columns[f"{name}.deviations"] = relative
            columns[f"{name}.behind"] = candidates.best(relative)[candidates.owner] - relative
            columns[f"{name}.rank"] = np.log1p(candidates.places(score)).astype(np.float32)
        return columns
