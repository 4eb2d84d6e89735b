"""Who won a search: by intervals over repeated seeds and the people of validation, never by one lucky number."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

RULE = (
    "The defaults and the {leaders} best trials are trained again with {repeats} seeds that the search has not used. "
    "A trial can win only if the paired interval of its difference to the defaults excludes 0. Of those that can, the "
    "one with the best mean is taken, or the cheapest to train of all that its interval does not tell from it. If none "
    "can, the defaults stay. Intervals hold for all comparisons with the defaults together at 95 % (Bonferroni), and "
    "count both the noise of seeds and that of people (Welch-Satterthwaite)."
)


@dataclass(frozen=True)
class Contender:
    """Settings that were trained with several seeds."""

    number: int
    """Of the trial."""
    values: NDArray[np.float64]
    """``[seeds]``: the first objective, all contenders with the same seeds in the same order."""
    seconds: float
    """Mean training time."""
    units: NDArray[np.float64] | None = None
    """``[seeds, cases]``: the objective of each case of validation, where it is a mean over cases."""

    @property
    def mean(self) -> float:
        """Over the seeds."""
        return float(self.values.mean())


@dataclass(frozen=True)
class Difference:
    """``a`` less ``b``."""

    value: float
    low: float
    high: float

    def better(self, larger: bool) -> bool:
        """Whether ``a`` is better beyond noise."""
        return self.low > 0 if larger else self.high < 0

    @property
    def unclear(self) -> bool:
        """Whether 0 is inside."""
        return self.low <= 0 <= self.high


@dataclass(frozen=True)
class Verdict:
    """The winner, and why."""

    winner: int
    """Number of the trial."""
    sentence: str
    beside_defaults: dict[int, Difference] = field(default_factory=dict)
    beside_best: dict[int, Difference] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Plain data."""

        def plain(found: dict[int, Difference]) -> dict[str, Any]:
            return {str(n): {"difference": d.value, "interval": [d.low, d.high]} for n, d in found.items()}

        sides = {"beside_defaults": plain(self.beside_defaults), "beside_best": plain(self.beside_best)}
        return {"winner": self.winner, "sentence": self.sentence, **sides}


def difference(a: Contender, b: Contender, level: float = 0.95) -> Difference:
    """``a`` less ``b``, seed by seed and case by case, with the interval of both sorts of noise."""
    if a.units is not None and b.units is not None and a.units.shape == b.units.shape:
        apart = a.units - b.units
        apart = apart[:, np.isfinite(apart).all(0)]
        by_seed, by_case = apart.mean(1), apart.mean(0)
        parts = [_noise(by_seed), _noise(by_case)]
    else:
        by_seed = a.values - b.values
        parts = [_noise(by_seed)]
    value = float(by_seed.mean())
    square = sum(noise for noise, _ in parts)
    if square <= 0:
        return Difference(value, value, value)
    freedom = square**2 / sum(noise**2 / degrees for noise, degrees in parts if noise > 0)
    half = float(stats.t.ppf(0.5 + level / 2, freedom)) * math.sqrt(square)
    return Difference(value, value - half, value + half)


def _noise(values: NDArray[np.float64]) -> tuple[float, int]:
    """The square of the standard error of a mean, and its degrees of freedom."""
    n = len(values)
    return (float(values.var(ddof=1)) / n, n - 1) if n > 1 else (0.0, 1)


def choose(defaults: Contender | None, leaders: list[Contender], larger: bool) -> Verdict | None:
    """The winner by `RULE`; None where nothing was trained to its end."""
    rivals = [one for one in leaders if defaults is None or one.number != defaults.number]
    if not rivals:
        return None if defaults is None else Verdict(defaults.number, "No trial but the defaults came to its end.")
    beside: dict[int, Difference] = {}
    able = rivals
    if defaults is not None:
        level = 1 - 0.05 / len(rivals)
        beside = {one.number: difference(one, defaults, level) for one in rivals}
        able = [one for one in rivals if beside[one.number].better(larger)]
        if not able:
            words = f"No trial is better than the defaults beyond noise: they stay (mean {defaults.mean:.4f})."
            return Verdict(defaults.number, words, beside)
    best = max(able, key=lambda one: one.mean if larger else -one.mean)
    close = {one.number: difference(one, best) for one in able if one is not best}
    equal = [best, *(one for one in able if one is not best and close[one.number].unclear)]
    winner = min(equal, key=lambda one: one.seconds)
    return Verdict(winner.number, _sentence(winner, best, beside, defaults), beside, close)


def _sentence(winner: Contender, best: Contender, beside: dict[int, Difference], defaults: Contender | None) -> str:
    said = f"Trial {winner.number} wins with a mean of {winner.mean:.4f}"
    if defaults is None:
        said += "; the defaults did not come to their end, so it stands beside nothing"
    else:
        found = beside[winner.number]
        said += f" against {defaults.mean:.4f} of the defaults, difference {found.value:+.4f}"
        said += f" [{found.low:+.4f}, {found.high:+.4f}]"
    if winner is not best:
        said += f"; trial {best.number} has {best.mean:.4f}, which is not told from it, and takes longer to train"
    return said + "."


def expected_best(values: list[float], larger: bool) -> list[float]:
    """The best that is expected after 1, 2, ... trials, if they came in any other order.

    Dodge et al., Show Your Work (2019), https://arxiv.org/abs/1909.03004, drawn without replacement.
    """
    ordered = np.sort(np.asarray(values, dtype=np.float64))
    ordered = ordered if larger else -ordered[::-1]
    n = len(ordered)
    found = []
    for k in range(1, n + 1):
        # The i-th smallest is the best of k with the chance C(i-1, k-1) / C(n, k).
        places = np.arange(k, n + 1)
        weights = np.array([math.comb(int(i) - 1, k - 1) / math.comb(n, k) for i in places])
        found.append(float((weights * ordered[k - 1 :]).sum()))
    return [one if larger else -one for one in found]
