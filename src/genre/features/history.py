"""How much is known of a person."""

from __future__ import annotations

import numpy as np

from genre.candidates import Candidates
from genre.component import component
from genre.data import Histories, Log
from genre.sources import Resources
from genre.types import Floats, State


@component
class History:
    """Length of the history, the mean amount in it, and how often the candidate is in it already.

    The same for all candidates of a person but for the last: it tells a scorer which source to trust, as a long
    history makes collaborative ones sure.
    """

    def fit(self, log: Log, resources: Resources) -> State:
        return {}

    def values(
        self, state: State, candidates: Candidates, histories: Histories, resources: Resources
    ) -> dict[str, Floats]:
        known = np.isfinite(histories.value)
        n = np.bincount(histories.owner[known], minlength=len(histories))
        total = np.bincount(histories.owner[known], weights=histories.value[known], minlength=len(histories))
        mean = np.where(n > 0, total / np.maximum(n, 1), np.nan)
        width = 1 + max(int(candidates.item.max(initial=0)), int(histories.item.max(initial=0)))
        pairs, counts = np.unique(histories.owner * width + histories.item, return_counts=True)
        asked = candidates.owner * width + candidates.item
        at = np.minimum(np.searchsorted(pairs, asked), max(len(pairs) - 1, 0))
        had = np.where(pairs[at] == asked, counts[at], 0) if len(pairs) else np.zeros(len(asked))
        columns = {"length": np.log1p(histories.lengths)[candidates.owner], "mean_value": mean[candidates.owner]}
        return {f"history.{k}": v.astype(np.float32) for k, v in {**columns, "had": had}.items()}
