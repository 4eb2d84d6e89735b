"""How well each system ranks for people of whom little is known: the same cases, asked with k events of each history.

The latest k are kept, not the first: a person's few events stand right before what they chose next, as when a system
has just met them. The first ones would lie long before it, and the curve would mix knowing little with being out of
date. What is ranked stays what it is for the whole history, so that only the knowledge changes from k to k.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from genre.cases import Cases
from genre.clock import times
from genre.comparisons import Measured, Resamples
from genre.metrics import Ranking
from genre.systems import Catalogue, Score, measure, metric_named, rank_cases, subset

MEASURES = ("ndcg@10", "recall@10")
LONGEST = 10
"""Places of a list that the measures look at."""
LEAST_CASES, MOST_CASES = 500, 1000
"""Cases of the sample, a tenth of all between these; more make narrower intervals and cost time, five times over."""
ALWAYS = ("genre", "model", "model_before", "popular", "content_knn")
"""Systems that are drawn; the baseline that was best on validation joins them."""

Point = dict[str, Measured]


@dataclass
class ShotCurve:
    """A sample of the cases, and what was measured on it so far, one system after another."""

    cases: Cases
    """The sample, with whole histories."""
    rows: NDArray[np.int64]
    """Which of all cases they are."""
    shots: tuple[int, ...]
    resamples: Resamples
    catalogue: Catalogue
    n_all: int
    """How many cases there are in all."""
    found: dict[str, list[Point]] = field(default_factory=dict)
    """By system, a point for each number of events, and the whole history last."""
    seconds: float = 0.0
    best: tuple[str, float] | None = None
    """The baseline that did best on validation so far, with its value there."""

    @classmethod
    def drawn(
        cls, cases: Cases, shots: Sequence[int], catalogue: Catalogue, bootstrap: int, seed: int, most: int = MOST_CASES
    ) -> ShotCurve:
        """A tenth of the cases, drawn by the seed: no fewer than 500 where there are so many, at most ``most``."""
        rows = np.arange(len(cases))
        most = min(most, max(LEAST_CASES, len(cases) // 10))
        if len(cases) > most:
            rows = np.sort(np.random.default_rng([seed, 4]).choice(len(cases), most, replace=False))
        some = cases.take(rows)
        kept = tuple(sorted(set(shots)))
        return cls(some, rows, kept, Resamples.of(some.user, bootstrap, seed), catalogue, len(cases))

    @times("few-events curve", whole=True)
    def hear(self, name: str, score: Score, whole: Ranking, valid: float | None) -> None:
        """Ask a system, if its curve may be wanted; ``whole`` is its ranking of all cases, ``valid`` of a baseline.

        Which baseline is best is known after the last one, when the others are gone: each that leads so far is asked.
        """
        leads = valid is not None and (self.best is None or valid > self.best[1])
        if not self.shots or not (leads or name in ALWAYS):
            return
        started = time.perf_counter()
        short = [rank_cases(self._forgetting(score, k), self.cases, self.catalogue, LONGEST) for k in self.shots]
        self.found[name] = [self._measured(ranking) for ranking in (*short, subset(whole, self.rows))]
        self.seconds += time.perf_counter() - started
        if leads and valid is not None:
            dropped = self.best[0] if self.best else None
            self.best = (name, valid)
            if dropped is not None and dropped not in ALWAYS:
                del self.found[dropped]

    def _forgetting(self, score: Score, k: int) -> Score:
        """The system as it would answer if each person had but their latest ``k`` events."""
        return lambda cases: score(replace(cases, histories=cases.histories.latest(k)))

    def _measured(self, ranking: Ranking) -> Point:
        values = measure(ranking, [metric_named(name) for name in MEASURES])
        return self.resamples.means({name: values[name] for name in MEASURES})

    def as_json(self) -> dict[str, Any]:
        """The curve for ``metrics.json``; empty where no number of events was asked for."""
        if not self.shots or not self.found:
            return {}
        return {
            "cases": len(self.cases),
            "of": self.n_all,
            "kept": "the latest events of each history",
            "candidates": "those of the whole history, at every k",
            "best_baseline": self.best[0] if self.best else None,
            "points": list(self._points()),
        }

    def _points(self) -> Iterator[dict[str, Any]]:
        lengths = self.cases.histories.lengths
        for i, k in enumerate((*self.shots, None)):
            known = lengths if k is None else np.minimum(lengths, k)
            systems = {s: {key: m.as_json() for key, m in points[i].items()} for s, points in self.found.items()}
            # Whoever has fewer events than k is asked with all of them.
            full = len(lengths) if k is None else int((lengths >= k).sum())
            yield {"shots": k, "mean_events": float(known.mean()), "with_so_many": full, "systems": systems}
