"""Who wins: by intervals, not by luck."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from genre.search.winner import Contender, choose, difference, expected_best


def contender(number: int, mean: float, seconds: float = 10.0, noise: float = 0.02, n: int = 400) -> Contender:
    """Three seeds of people whose values lie about a mean; the people are the same for all."""
    rng = np.random.default_rng(number)
    people = np.random.default_rng(99).normal(0, 0.3, n)
    units = mean + people + rng.normal(0, noise, (3, 1)) + rng.normal(0, 0.05, (3, n))
    return Contender(number, units.mean(1), seconds, units)


def test_what_is_better_beyond_noise_wins():
    verdict = choose(contender(0, 0.3), [contender(1, 0.5), contender(2, 0.35)], larger=True)
    assert verdict is not None
    assert verdict.winner == 1
    assert verdict.beside_defaults[1].low > 0
    assert "wins" in verdict.sentence


def test_a_lucky_number_does_not_beat_the_defaults():
    # Best by its mean, but its seeds disagree by more than it is ahead.
    lucky = contender(3, 0.31, noise=0.15)
    assert max(lucky.values) > 0.31
    verdict = choose(contender(0, 0.3), [lucky], larger=True)
    assert verdict is not None
    assert verdict.winner == 0
    assert verdict.beside_defaults[3].unclear
    assert "they stay" in verdict.sentence


def test_of_what_is_not_told_apart_the_cheapest_wins():
    close = [contender(1, 0.502, seconds=30, noise=0.005), contender(2, 0.5, seconds=5, noise=0.005)]
    verdict = choose(contender(0, 0.3), close, larger=True)
    assert verdict is not None
    assert verdict.winner == 2
    assert verdict.beside_best[min(verdict.beside_best)].unclear
    far = [contender(1, 0.6, seconds=30, noise=0.005), contender(2, 0.5, seconds=5, noise=0.005)]
    verdict = choose(contender(0, 0.3), far, larger=True)
    assert verdict is not None
    assert verdict.winner == 1


def test_smaller_is_better_where_it_is():
    verdict = choose(contender(0, 0.5), [contender(1, 0.3), contender(2, 0.7)], larger=False)
    assert verdict is not None
    assert verdict.winner == 1


def test_without_values_of_people_seeds_alone_decide():
    a = Contender(1, np.array([0.5, 0.52, 0.51]), 1.0)
    b = Contender(0, np.array([0.4, 0.43, 0.42]), 1.0)
    found = difference(a, b)
    assert found.value == pytest.approx(0.0933, abs=1e-3)
    # Student's t of two degrees of freedom.
    assert found.high - found.value == pytest.approx(4.303 * np.std([0.1, 0.09, 0.09], ddof=1) / np.sqrt(3), rel=1e-3)


def test_without_defaults_or_rivals_something_is_said():
    alone = choose(None, [contender(1, 0.5)], larger=True)
    assert alone is not None
    assert "stands beside nothing" in alone.sentence
    kept = choose(contender(0, 0.5), [], larger=True)
    assert kept is not None
    assert kept.winner == 0
    assert choose(None, [], larger=True) is None


def test_intervals_hold_what_they_say():
    """Of two contenders that are equal, few are told apart: the rate is that of the level."""
    wrong, n = 0, 400
    for i in range(n):
        rng = np.random.default_rng(i)
        sides = [
            Contender(j, units.mean(1), 1.0, units)
            for j in (0, 1)
            for units in [rng.normal(0, 0.02, (3, 1)) + rng.normal(0, 0.3, (3, 60))]
        ]
        wrong += not difference(sides[0], sides[1]).unclear
    assert wrong / n < 0.07


@pytest.mark.parametrize("larger", [True, False])
def test_the_expected_best_is_that_of_all_orders(larger: bool):
    values = [0.3, 0.1, 0.7, 0.5]
    best = max if larger else min
    orders = list(itertools.permutations(values))
    expected = [np.mean([best(order[:k]) for order in orders]) for k in range(1, 5)]
    assert expected_best(values, larger) == pytest.approx(expected)
