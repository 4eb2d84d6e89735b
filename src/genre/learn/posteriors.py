"""What is believed of unknown rewards: Gaussian beliefs on weights, and committees drawn from beliefs.

A Thompson policy acts by a draw from its belief. Here the draws are a *committee*: ``members`` of them, made anew
whenever the belief changes, of whom one, by lot, fills a place of a slate. So the probability that an item fills it is
the share of the members who put it first, which is exact and can be computed again from the state alone.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from scipy import linalg
from scipy.special import ndtri

from genre.policies import Doubles, Draw, Feedback
from genre.types import Bools, Ints, State

BITS = 16


def fading(feedback: Feedback, forget: float) -> Doubles:
    """Weight of each row once all are in: the newest counts in full, older ones by ``1 - forget`` for each after it."""
    if not forget:
        return feedback.weight
    return feedback.weight * (1 - forget) ** np.arange(len(feedback) - 1, -1, -1.0)


def gathered(state: State, rows: Doubles, feedback: Feedback, forget: float) -> State:
    """The sums that a linear belief rests on, with those of the feedback; ``rows`` are what the weights multiply."""
    weight, kept = fading(feedback, forget), (1 - forget) ** len(feedback)
    weighted = rows * weight[:, None]
    return {
        "gram": kept * state["gram"] + weighted.T @ rows,
        "moment": kept * state["moment"] + weighted.T @ feedback.reward,
        "squares": kept * state["squares"] + (weight * feedback.reward**2).sum(),
        "count": kept * state["count"] + weight.sum(),
        "seen": state["seen"] + len(feedback),
    }


def nothing_gathered(dim: int) -> State:
    """The sums before any feedback."""
    zero = np.zeros(())
    gram, moment = np.zeros((dim, dim)), np.zeros(dim)
    return {"gram": gram, "moment": moment, "squares": zero, "count": zero, "seen": np.zeros((), np.int64)}


def factor(sums: State, prior: float) -> Doubles:
    """The lower Cholesky factor of the precision: ``prior`` times the identity, and what was seen."""
    precision = sums["gram"].copy()
    precision.flat[:: len(precision) + 1] += prior
    return np.asarray(linalg.cholesky(precision, lower=True, check_finite=False))


def solved(lower: Doubles, right: Doubles) -> Doubles:
    """Mean of a Gaussian belief with that factor of its precision."""
    return np.asarray(linalg.cho_solve((lower, True), right, check_finite=False))


def scattered(lower: Doubles, members: int, seed: int, seen: int) -> Doubles:
    """Draws of mean 0 with the inverse of the precision as covariance: ``[members, d]``, the same for the same seed."""
    normal = np.random.default_rng([seed, seen]).standard_normal((len(lower), members))
    return linalg.solve_triangular(lower, normal, lower=True, trans=1, check_finite=False).T


def with_constant(contexts: Doubles) -> Doubles:
    """A column of ones before the others, so that weights need not pass through zero."""
    return np.concatenate([np.ones((len(contexts), 1)), contexts], 1)


def of_committee(votes: Doubles, explore: float) -> Draw:
    """The share of the members, ``votes [members, n]``, who put each open candidate first.

    ``explore`` of the probability goes to all that are open, evenly: what no member wants can still be shown.
    """
    members = len(votes)

    def draw(still: Bools) -> Doubles:
        open_ones = np.flatnonzero(still)
        firsts = open_ones[votes[:, open_ones].argmax(1)]
        said = np.bincount(firsts, minlength=votes.shape[1]).astype(np.float64) * ((1 - explore) / members)
        said[open_ones] += explore / len(open_ones)
        return said

    return draw


def of_best(values: Doubles, explore: float) -> Draw:
    """The best open candidate, the first of equals, but for ``explore``, which goes to all that are open, evenly."""

    def draw(still: Bools) -> Doubles:
        open_ones = np.flatnonzero(still)
        said = np.zeros(len(values))
        said[open_ones] = explore / len(open_ones)
        said[open_ones[values[open_ones].argmax()]] += 1 - explore
        return said

    return draw


def beta_committee(won: Doubles, lost: Doubles, item: Ints, members: int, key: int) -> Doubles:
    """Draws from the Beta beliefs of some items: ``[members, n]``, of an item the same whoever stands beside it.

    A Beta draw is made of two Gamma draws, and those by the cube of a normal (Wilson and Hilferty 1931), which is
    within a hundredth of the quantiles from a shape of 1 on.
    """
    first, second = _normals(item, members, key)
    a, b = _gamma(won, first), _gamma(lost, second)
    return a / (a + b)


def _gamma(shape: Doubles, normal: Doubles) -> Doubles:
    cube = 1 - 1 / (9 * shape) + normal / (3 * np.sqrt(shape))
    at_least = np.maximum(cube, 1e-3)
    return shape * at_least * at_least * at_least


@cache
def _quantiles() -> Doubles:
    steps = 1 << BITS
    return np.asarray(ndtri((np.arange(steps) + 0.5) / steps), dtype=np.float64)


def _normals(item: Ints, members: int, key: int) -> tuple[Doubles, Doubles]:
    """Two standard normal numbers a member and item, from a hash (splitmix64) of both and of ``key``."""
    mask = np.uint64((1 << BITS) - 1)
    start = np.uint64((key * 0x9E3779B97F4A7C15) % (1 << 64))
    with np.errstate(over="ignore"):
        mixed = item.astype(np.uint64)[None, :] * np.uint64(0xD1342543DE82EF95)
        mixed = mixed + np.arange(1, members + 1, dtype=np.uint64)[:, None] * np.uint64(0x9E3779B97F4A7C15) + start
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed ^= mixed >> np.uint64(31)
    table = _quantiles()
    return table[(mixed & mask).astype(np.int64)], table[((mixed >> np.uint64(BITS)) & mask).astype(np.int64)]
