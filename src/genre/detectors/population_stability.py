"""How far the shares of words have moved."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field, PositiveFloat

from genre.component import component
from genre.detectors import Found, Watched


@component
class PopulationStability:
    """The population stability index of the most frequent words, the rest together, and those never seen before.

    For what is counted: items, actions. Between few rows the index is large by chance; by how much is known, and an
    alarm has to pass that too. Yurdakul and Naranjo (2020), https://doi.org/10.21314/JRMV.2020.227.
    """

    threshold: PositiveFloat = 0.2
    """Index at which shares count as moved; the custom is 0.1 for some, 0.25 for much. Larger is deafer."""
    bins: Annotated[int, Field(ge=2)] = 20
    """Most frequent words that are told apart; more see finer changes and need more rows."""
    chance: Annotated[float, Field(gt=0, lt=1)] = 1e-3
    """Chance of an alarm where nothing moved; larger hears more, and more that is none."""

    reads: ClassVar[Literal["stream", "numbers", "words", "people"]] = "words"

    def detect(self, watched: Watched) -> Found:
        from scipy.stats import chi2

        before, now, names = self._shares(watched)
        n, m = len(watched.before), len(watched.now)
        # A share of 0 would make the index infinite: half a row is put in each bin.
        p, q = (before + 0.5) / (n + 0.5 * len(names)), (now + 0.5) / (m + 0.5 * len(names))
        parts = (q - p) * np.log(q / p)
        index = float(parts.sum())
        by_chance = float(chi2.ppf(1 - self.chance, max(1, len(names) - 1)) * (1 / n + 1 / m))
        threshold = max(self.threshold, by_chance)
        most = int(np.argmax(parts))
        why = f"most of all {names[most]}: {p[most]:.1%} before, {q[most]:.1%} now"
        return Found(index > threshold, index, threshold, why)

    def _shares(self, watched: Watched) -> tuple[np.ndarray, np.ndarray, list[str]]:
        """Rows before and now of each of the bins, and their names."""
        words, counts = np.unique(watched.before.astype(str), return_counts=True)
        order = np.argsort(-counts, kind="stable")
        top, rest = words[order[: self.bins]], words[order[self.bins :]]
        now, now_counts = np.unique(watched.now.astype(str), return_counts=True)
        count = dict(zip(now.tolist(), now_counts.tolist(), strict=True))
        shown = [count.get(word, 0) for word in top.tolist()]
        others = int(now_counts[np.isin(now, rest)].sum())
        fresh = int(now_counts.sum()) - sum(shown) - others
        # As many rows as had a word of their own will have one that is new (Good 1953), and those came from the rest.
        once = float((counts[order[self.bins :]] == 1).sum())
        known = [*counts[order[: self.bins]].tolist(), float(counts[order[self.bins :]].sum()) - once, once]
        names = [*top.tolist(), "all others", "never seen before"]
        used = [i for i in range(len(names)) if known[i] or [*shown, others, fresh][i]]
        seen = [*shown, others, fresh]
        return np.array([known[i] for i in used]), np.array([seen[i] for i in used]), [names[i] for i in used]
