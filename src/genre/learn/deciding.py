"""Slates from a policy, and the exact probability of each of their places."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from genre.errors import DataError
from genre.policies import Arms, Doubles, Policy
from genre.types import Bools, State


@dataclass(frozen=True)
class Chosen:
    """A slate of ``k`` places."""

    places: NDArray[np.int64]
    """``[k]``: which of the candidates, from the top."""
    propensities: Doubles
    """``[k]``: the probability of each at its place, given those above it; their product is that of the slate."""


def choose(
    policy: Policy, state: State, arms: Arms, k: int, rng: np.random.Generator, among: Bools | None = None
) -> Chosen:
    """Draw a slate of ``k``, or of all candidates where there are fewer; ``among`` says which of them are open."""
    still = np.ones(len(arms), dtype=bool) if among is None else among.copy()
    k = min(k, int(still.sum()))
    places, propensities = np.zeros(k, dtype=np.int64), np.zeros(k)
    if not k:
        return Chosen(places, propensities)
    draw = policy.draw(state, arms)
    for place in range(k):
        said = draw(still)
        sums = np.cumsum(said)
        one = int(np.searchsorted(sums, rng.random() * sums[-1], side="right"))
        if one == len(said):  # the draw was rounded up to the whole
            one = int(np.flatnonzero(said)[-1])
        places[place], propensities[place] = one, said[one]
        still[one] = False
    return Chosen(places, propensities)


def propensities(policy: Policy, state: State, arms: Arms, places: NDArray[np.int64]) -> Doubles:
    """The probability of each of the given ``places`` at its place, given those above it: ``[k]``."""
    if len(np.unique(places)) != len(places):
        raise DataError(f"a slate shows an item once; this one repeats some: {np.asarray(places).tolist()}")
    draw, still = policy.draw(state, arms), np.ones(len(arms), dtype=bool)
    said = np.zeros(len(places))
    for place, one in enumerate(places):
        said[place] = draw(still)[one]
        still[one] = False
    return said


def marginals(policy: Policy, state: State, arms: Arms, k: int, rng: np.random.Generator, draws: int = 200) -> Doubles:
    """The probability of each candidate at each place, whatever stands above: ``[k, n]``.

    The first place is exact. Of the others it is a mean over ``draws`` slates of the exact distribution given what
    stands above, which has a smaller error than counting the slates, at most ``1 / (2 * sqrt(draws))``.
    """
    k = min(k, len(arms))
    draw, total = policy.draw(state, arms), np.zeros((k, len(arms)))
    for _ in range(draws if k > 1 else 1):
        still = np.ones(len(arms), dtype=bool)
        for place in range(k):
            said = draw(still)
            total[place] += said
            still[int(rng.choice(len(arms), p=said / said.sum()))] = False
    return total / (draws if k > 1 else 1)
