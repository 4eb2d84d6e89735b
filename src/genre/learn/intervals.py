"""How far an estimate of a policy's value may be off."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from genre.estimators import Doubles, Estimate
from genre.types import Ints

Method = Literal["bootstrap", "normal", "bernstein"]


def summed(values: Doubles, person: Ints) -> Doubles:
    """Sums over the slates of each person, who are the independent pieces of a log."""
    _, number = np.unique(person, return_inverse=True)
    return np.bincount(number, values).astype(np.float64)


def interval(
    estimate: Estimate,
    person: Ints,
    method: Method = "bootstrap",
    level: float = 0.95,
    draws: int = 1000,
    seed: int = 0,
) -> tuple[float, float]:
    """The two ends of an interval with that level, people being drawn, not slates; infinite for fewer than two people.

    ``bootstrap`` draws people anew and follows skewed weights, ``normal`` goes by the spread alone and is as good for
    many people and small weights, ``bernstein`` (Maurer and Pontil 2009, https://arxiv.org/abs/0907.3740) holds for any
    distribution within the range of terms that was seen, and is much wider.
    """
    top, bottom = summed(estimate.top, person), summed(estimate.bottom, person)
    people = len(top)
    if people < 2:
        return -np.inf, np.inf
    if method == "bootstrap":
        values = _again(top, bottom, draws, np.random.default_rng(seed))
        low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
        return float(low), float(high)
    # What each person adds to the error of the value.
    errors = (top - estimate.value * bottom) / bottom.mean()
    variance = float(errors.var(ddof=1))
    if method == "normal":
        from scipy.stats import t

        half = float(t.ppf((1 + level) / 2, people - 1)) * np.sqrt(variance / people)
    else:
        logarithm = np.log(4 / (1 - level))
        half = np.sqrt(2 * variance * logarithm / people)
        half += 7 * float(np.ptp(errors)) * logarithm / (3 * (people - 1))
    return estimate.value - half, estimate.value + half


def _again(top: Doubles, bottom: Doubles, draws: int, rng: np.random.Generator) -> Doubles:
    """The value of the same number of people drawn with replacement, ``draws`` times."""
    values, people = np.zeros(draws), len(top)
    step = max(1, 2_000_000 // people)
    for start in range(0, draws, step):
        size = min(step, draws - start)
        picked = rng.integers(0, people, (size, people))
        values[start : start + size] = top[picked].sum(1) / np.maximum(bottom[picked].sum(1), 1e-300)
    return values


def difference(one: Estimate, other: Estimate) -> Estimate:
    """The difference of two values on the same slates, as a mean of their terms, so that it has a paired interval."""
    return Estimate.mean(one.terms - other.terms, one.weights)


def diagnosed(weights: Doubles) -> dict[str, Any]:
    """What the weights of a log say of how much of it bears on the judged policy."""
    total, squares = float(weights.sum()), float(np.square(weights).sum())
    n = len(weights)
    error = float(weights.std(ddof=1) / np.sqrt(n)) if n > 1 else 0.0
    return {
        "slates": n,
        "effective": total**2 / squares if squares else 0.0,
        "mean": total / n,
        "mean_error": error,
        "highest": float(weights.max(initial=0.0)),
        "highest_share": float(weights.max(initial=0.0) / total) if total else 0.0,
        "zero": float((weights == 0).mean()),
    }


def warnings(found: dict[str, Any]) -> list[str]:
    """What to mistrust, in words."""
    said = []
    n, effective = found["slates"], found["effective"]
    if effective < 50 or effective < 0.01 * n:
        said.append(
            f"{effective:.0f} of {n} slates bear on the policy (effective sample size): it differs too much from the "
            "one that wrote the log; log more exploration, or judge a policy nearer to it"
        )
    if found["highest_share"] > 0.05:
        said.append(
            f"one slate has {found['highest_share']:.0%} of all weight, {found['highest']:.0f}: the value hangs on it; "
            "take clipped_ips or switch_dr beside it"
        )
    off = found["mean"] - 1
    if abs(off) > 4 * found["mean_error"] and abs(off) > 0.05:
        mass = f": {-off:.0%} of what the policy shows is never in the log (no overlap)" if off < 0 else ""
        mean = f"the mean weight is {found['mean']:.2f} and should be 1"
        said.append(f"{mean}{mass}, or the propensities are not those of the log")
    return said
