"""Intervals and paired comparisons by the bootstrap over users, all from the same resamples; and the baseline gate."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from genre.clock import times
from genre.types import Ints

Draws = NDArray[np.float64]
"""``[resamples]``: a measure in each resample; NaN where it is undefined."""

BLOCK_CELLS = 1 << 23


@dataclass(frozen=True)
class Measured:
    """One measure of one system: its value, and what it would have been with other users."""

    value: float | None
    draws: Draws | None = None
    """None for a measure of the whole that no resampling of users speaks of, such as coverage."""

    def as_json(self) -> dict[str, Any]:
        """``value`` and ``ci95``, null where undefined."""
        return {"value": self.value, "ci95": None if self.draws is None else interval(self.draws)}


@dataclass(frozen=True)
class Resamples:
    """Which users are drawn how often: whole users, since one person's events hang together.

    Efron and Tibshirani, An Introduction to the Bootstrap (1993), chapters 8 and 13.
    """

    group: Ints
    """``[units]``: the user of each unit (case, or row), numbered from 0."""
    n: int
    """Number of resamples."""
    seed: int

    @classmethod
    def of(cls, users: Ints, n: int, seed: int) -> Resamples:
        """Resamples of the distinct ``users``, who may own several units each."""
        return cls(np.unique(users, return_inverse=True)[1].astype(np.int32), n, seed)

    @property
    def n_groups(self) -> int:
        """Distinct users."""
        return int(self.group.max()) + 1 if len(self.group) else 0

    def counts(self) -> Iterable[NDArray[np.float32]]:
        """How often each user is drawn, a block of resamples at a time: ``[block, users]``; the same at every call."""
        random, users = np.random.default_rng(self.seed), max(1, self.n_groups)
        size = max(1, BLOCK_CELLS // users)
        for i in range(0, self.n, size):
            drawn = random.integers(0, users, size=(min(size, self.n - i), users))
            yield np.stack([np.bincount(row, minlength=users) for row in drawn]).astype(np.float32)

    @times("intervals")
    def means(self, values: dict[str, NDArray[np.float64]]) -> dict[str, Measured]:
        """Each measure's mean over the units where it is defined, in the sample and in every resample."""
        if not values:
            return {}
        stacked = np.stack(list(values.values()), 1)
        known = np.isfinite(stacked)
        sums, sizes = self._by_group(np.where(known, stacked, 0.0)), self._by_group(known)
        with np.errstate(invalid="ignore", divide="ignore"):
            draws = np.concatenate([(drawn @ sums) / (drawn @ sizes) for drawn in self.counts()])
        return {name: _measured(stacked[known[:, i], i], draws[:, i]) for i, name in enumerate(values)}

    def of_rows(self, measure: Callable[[NDArray[np.int64]], float], most: int) -> Measured:
        """A measure that is no mean over units, computed anew from the rows of at most ``most`` resamples."""
        whole = measure(np.arange(len(self.group)))
        draws: list[float] = []
        for drawn in self.counts():
            for row in drawn[: max(0, most - len(draws))]:
                draws.append(measure(np.repeat(np.arange(len(self.group)), row.astype(np.int64)[self.group])))
        if not np.isfinite(whole):
            return Measured(None, np.array(draws))
        # Resampling biases a measure that is no mean (noise adds to a calibration error): the bias is taken out.
        centred = np.array(draws) + whole - np.nanmean(draws) if np.isfinite(draws).any() else np.array(draws)
        return Measured(float(whole), centred)

    def _by_group(self, values: NDArray[Any]) -> NDArray[np.float32]:
        sums = np.zeros((self.n_groups, values.shape[1]))
        np.add.at(sums, self.group, values)
        return sums.astype(np.float32)


def interval(draws: Draws) -> list[float] | None:
    """The middle 95 % of the resamples where the measure is defined."""
    known = draws[np.isfinite(draws)]
    return [float(edge) for edge in np.quantile(known, [0.025, 0.975])] if len(known) else None


def compare(a: Measured, b: Measured, larger_is_better: bool) -> dict[str, Any] | None:
    """``a`` less ``b`` over the same users; None where either is undefined.

    ``better`` and ``worse`` are said of ``a``, and only where the interval excludes 0; ``p`` is two-sided.
    """
    if a.value is None or b.value is None or a.draws is None or b.draws is None:
        return None
    n = min(len(a.draws), len(b.draws))
    draws = a.draws[:n] - b.draws[:n]
    draws = draws[np.isfinite(draws)]
    edges = interval(draws)
    if edges is None:
        return None
    tail = min(int((draws <= 0).sum()), int((draws >= 0).sum()))
    p = min(1.0, 2 * (tail + 1) / (len(draws) + 1))
    return {"difference": a.value - b.value, "ci95": edges, "p": p, "verdict": _verdict(edges, larger_is_better)}


def _verdict(edges: list[float], larger_is_better: bool) -> Literal["better", "worse", "no difference"]:
    if edges[0] <= 0 <= edges[1]:
        return "no difference"
    return "better" if (edges[0] > 0) == larger_is_better else "worse"


def _measured(known: NDArray[np.float64], draws: Draws) -> Measured:
    return Measured(float(known.mean()), draws) if len(known) else Measured(None, draws)


def best_by_validation(valid: dict[str, dict[str, float | None]], directions: dict[str, bool]) -> dict[str, str]:
    """The baseline that was best on validation, by metric: chosen there, the test has no say in it."""
    best: dict[str, str] = {}
    for metric, larger in directions.items():
        known = {name: value for name, found in valid.items() if (value := found.get(metric)) is not None}
        if known:
            best[metric] = max(known, key=lambda name: known[name] if larger else -known[name])
    return best


def gate(
    metric: str, best: dict[str, str], systems: dict[str, dict[str, Measured]], larger_is_better: bool
) -> dict[str, Any] | None:
    """The verdict on the whole pipeline beside its best baseline, as facts and as a sentence."""
    if metric not in best:
        return None
    name = best[metric]
    a, b = systems["genre"][metric], systems[name][metric]
    found = compare(a, b, larger_is_better)
    if found is None or a.value is None or b.value is None:
        return None
    words = {
        "better": "GENRE is better than its best baseline",
        "worse": "GENRE is worse than its best baseline",
        "no difference": "no difference is shown between GENRE and its best baseline",
    }
    low, high = found["ci95"]
    sentence = (
        f"By {metric}, {words[found['verdict']]} ({name}): {a.value:.4f} against {b.value:.4f}, "
        f"difference {found['difference']:+.4f}, 95 % interval {low:+.4f} to {high:+.4f}."
    )
    return {"metric": metric, "baseline": name, **found, "sentence": sentence}
