"""Area under the ROC curve of a ranking."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np

from genre.component import component
from genre.cutoffs import relevant, sorted_ranks
from genre.metrics import Ranking, Values


@component
class AUC:
    """Chance that a relevant item stands above another candidate, by unit; ties count as below.

    Looks at the whole ranking, where the metrics with cut-offs look at its top. For a head's predictions see
    label_auc.
    """

    needs: ClassVar[Literal["ranking"]] = "ranking"
    larger_is_better: ClassVar[bool] = True

    def measure(self, outcome: Ranking) -> Values:
        ranks, counts = sorted_ranks(outcome), relevant(outcome)
        candidates = np.asarray(outcome.n_candidates, dtype=np.float64)
        # Relevant items that are no candidates stand behind all of them.
        inside = (ranks <= candidates[:, None]).sum(1)
        others = candidates - inside
        above = np.where(np.isfinite(ranks), ranks - 1 - np.arange(ranks.shape[1]), 0.0).sum(1)
        with np.errstate(divide="ignore", invalid="ignore"):
            share = np.where(others > 0, above / (counts * others), np.nan)
        return {"auc": np.clip(1 - share, 0.0, 1.0)}
