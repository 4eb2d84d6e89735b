"""Policies: their propensities are what is shown, their beliefs are what was fed back, and they learn."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from genre.component import Slot, names
from genre.errors import DataError
from genre.learn.deciding import choose, marginals, propensities
from genre.learn.posteriors import beta_committee, of_committee
from genre.policies import Arms, Feedback, Policy
from genre.states import load_state, save_state
from genre.types import State

ALL = names("policies")
DIM = 4
CATALOGUE = 30


def policy(spec: Any) -> Policy:
    return Slot("policies").build(spec)


def replay(one: Policy, n_items: int, dim: int, log: Iterable[Feedback]) -> State:
    """The state after all feedback of a log, from the start."""
    state = one.start(n_items, dim)
    for feedback in log:
        state = one.update(state, feedback)
    return state


def arms(n: int = 6, seed: int = 0, ties: bool = False) -> Arms:
    rng = np.random.default_rng(seed)
    scores = np.zeros(n) if ties else rng.normal(size=n)
    return Arms(rng.permutation(CATALOGUE)[:n].astype(np.int32), scores, rng.normal(size=(n, DIM)))


def feedback(n: int = 40, seed: int = 1, slate: int = 4) -> Feedback:
    rng = np.random.default_rng(seed)
    item, number = rng.integers(0, CATALOGUE, n).astype(np.int32), np.arange(n)
    reward = (rng.random(n) < 0.4).astype(float)
    place = (number % slate).astype(np.int32)
    return Feedback(item, reward, rng.normal(size=(n, DIM)), rng.normal(size=n), place, number // slate)


def blank(item: np.ndarray, reward: np.ndarray, place: np.ndarray | None = None) -> Feedback:
    """Feedback without scores and contexts; of one slate where places are given, else a slate a row."""
    n = len(item)
    at = np.zeros(n, dtype=np.int32) if place is None else place
    return Feedback(
        item, reward, np.zeros((n, 1)), np.zeros(n), at, np.arange(n) if place is None else np.zeros(n, int)
    )


def taught(one: Policy, n: int = 40) -> dict[str, Any]:
    return one.update(one.start(CATALOGUE, DIM), feedback(n))


def close(a: dict[str, Any], b: dict[str, Any]) -> None:
    assert a.keys() == b.keys()
    for name, array in a.items():
        np.testing.assert_allclose(array, b[name], rtol=1e-9, atol=1e-10, err_msg=name)


@pytest.mark.parametrize("name", ALL)
def test_every_place_is_a_distribution_over_what_is_open(name: str):
    one, candidates = policy(name), arms()
    draw = one.draw(taught(one), candidates)
    still = np.ones(len(candidates), dtype=bool)
    for closed in (0, 3, 5, 1, 2):
        said = draw(still)
        assert said.dtype == np.float64
        assert said.sum() == pytest.approx(1, abs=1e-12)
        assert (said >= 0).all()
        assert not said[~still].any()
        still[closed] = False
    assert draw(still).argmax() == 4


@pytest.mark.parametrize("name", ALL)
def test_what_is_logged_is_what_is_computed_for_given_places(name: str):
    one, candidates = policy(name), arms()
    state = taught(one)
    chosen = choose(one, state, candidates, 4, np.random.default_rng(0))
    assert len(set(chosen.places.tolist())) == 4
    np.testing.assert_allclose(propensities(one, state, candidates, chosen.places), chosen.propensities, rtol=1e-12)


@pytest.mark.parametrize("name", ALL)
def test_slates_occur_as_often_as_their_propensities_say(name: str):
    one, candidates = policy(name), arms(4, seed=3)
    state, rng, n = taught(one), np.random.default_rng(5), 4000
    seen: dict[tuple[int, ...], int] = {}
    told: dict[tuple[int, ...], float] = {}
    for _ in range(n):
        chosen = choose(one, state, candidates, 3, rng)
        slate = tuple(chosen.places.tolist())
        seen[slate], told[slate] = seen.get(slate, 0) + 1, float(chosen.propensities.prod())
    likely = [slate for slate, p in told.items() if n * p >= 5]
    expected = [n * told[slate] for slate in likely]
    observed = [seen[slate] for slate in likely]
    rest, left = n - sum(observed), max(n - sum(expected), 0.0)
    if left > 1e-6:
        observed, expected = [*observed, rest], [*expected, left]
    assert stats.chisquare(observed, np.array(expected) * (n / sum(expected))).pvalue > 1e-4 or len(observed) == 1


def test_plackett_luce_by_hand_and_by_gumbel():
    scores = np.log([1.0, 2.0, 3.0])
    candidates = Arms(np.arange(3, dtype=np.int32), scores, np.zeros((3, 1)))
    one = policy({"type": "softmax", "standardise": False})
    said = propensities(one, {}, candidates, np.array([2, 0, 1]))
    np.testing.assert_allclose(said, [3 / 6, 1 / 3, 1.0])
    noisy = scores + np.random.default_rng(0).gumbel(size=(20000, 3))
    share = float((np.argsort(-noisy, 1) == [2, 0, 1]).all(1).mean())
    assert share == pytest.approx(1 / 6, abs=4 * np.sqrt(1 / 6 * 5 / 6 / 20000))
    np.testing.assert_allclose(
        marginals(one, {}, candidates, 3, np.random.default_rng(0), 4000)[0], [1 / 6, 1 / 3, 1 / 2]
    )
    # At the second place, by hand: item 0 after 1 or after 2.
    second = marginals(one, {}, candidates, 3, np.random.default_rng(0), 4000)[1][0]
    assert second == pytest.approx(2 / 6 * 1 / 4 + 3 / 6 * 1 / 3, abs=0.01)


@pytest.mark.parametrize("temperature", [1e-4, 1e-3])
def test_a_cold_softmax_is_greedy_and_stays_a_distribution(temperature: float):
    one, candidates = policy({"type": "softmax", "temperature": temperature}), arms(8)
    chosen = choose(one, {}, candidates, 8, np.random.default_rng(0))
    assert chosen.places.tolist() == np.argsort(-candidates.scores).tolist()
    np.testing.assert_allclose(chosen.propensities, 1)


@pytest.mark.parametrize("name", ALL)
def test_in_pieces_as_in_one_and_again_from_the_log(name: str):
    one, told = policy(name), feedback(40)
    whole = one.update(one.start(CATALOGUE, DIM), told)
    slates = [told.where(told.slate == number) for number in np.unique(told.slate)]
    close(replay(one, CATALOGUE, DIM, slates), whole)
    again = replay(one, CATALOGUE, DIM, slates)
    assert all(np.array_equal(again[key], array) for key, array in replay(one, CATALOGUE, DIM, slates).items())


@pytest.mark.parametrize("name", ["thompson_beta", "thompson_linear", "thompson_neural", "linucb"])
def test_row_by_row_with_forgetting(name: str):
    one, told = policy({"type": name, "forget": 0.05}), feedback(20)
    rows = [told.where(np.arange(20) == i) for i in range(20)]
    close(replay(one, CATALOGUE, DIM, rows), replay(one, CATALOGUE, DIM, [told]))


@pytest.mark.parametrize("name", ALL)
def test_a_state_survives_a_restart_and_an_update_leaves_the_old_one(name: str, tmp_path: Path):
    one = policy(name)
    state = taught(one)
    before = {key: np.array(array) for key, array in state.items()}
    one.update(state, feedback(8, seed=9))
    assert all(np.array_equal(before[key], state[key]) for key in before)
    save_state(tmp_path / "s.safetensors", state)
    loaded = load_state(tmp_path / "s.safetensors")
    a, b = (choose(one, known, arms(), 3, np.random.default_rng(2)) for known in (state, loaded))
    assert np.array_equal(a.places, b.places)
    assert np.array_equal(a.propensities, b.propensities)


def test_the_linear_belief_is_ridge_regression():
    told = feedback(30)
    rows = np.concatenate([np.ones((30, 1)), told.contexts], 1)
    expected = np.linalg.solve(rows.T @ rows + 2.0 * np.eye(DIM + 1), rows.T @ told.reward)
    for name in ("thompson_linear", "linucb"):
        state = taught(policy({"type": name, "prior": 2.0}), 30)
        np.testing.assert_allclose(state["mean"], expected, rtol=1e-9)


def test_a_committee_has_the_spread_of_the_belief():
    one = policy({"type": "thompson_linear", "members": 20000, "noise": 0.7})
    told = feedback(30)
    rows = np.concatenate([np.ones((30, 1)), told.contexts], 1)
    covariance = 0.49 * np.linalg.inv(rows.T @ rows + np.eye(DIM + 1))
    np.testing.assert_allclose(np.cov(taught(one, 30)["committee"].T), covariance, atol=0.02 * covariance.max())


def test_the_neural_belief_starts_at_the_model_and_learns_the_noise():
    one = policy({"type": "thompson_neural", "prior": 50.0, "noise": 0.05, "explore": 0.0})
    candidates = arms()
    first = one.draw(one.start(CATALOGUE, DIM), candidates)(np.ones(6, dtype=bool))
    assert first.argmax() == candidates.scores.argmax()
    rng, n = np.random.default_rng(0), 3000
    contexts, scores = rng.normal(size=(n, DIM)), rng.normal(size=n)
    reward = scores + 0.5 * contexts[:, 0] + rng.normal(0, 0.3, n)
    zero = np.zeros(n, dtype=np.int32)
    state = one.update(one.start(CATALOGUE, DIM), Feedback(zero, reward, contexts, scores, zero, np.arange(n)))
    assert state["noise"] == pytest.approx(0.3, abs=0.02)
    assert state["mean"][1] == pytest.approx(1, abs=0.02)
    assert state["mean"][2] == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize(("good", "bad"), [(1.0, 1.0), (3.0, 8.0), (40.0, 2.0)])
def test_beta_draws_are_beta(good: float, bad: float):
    n = 4000
    items = np.arange(n, dtype=np.int32)
    draws = beta_committee(np.full(n, good), np.full(n, bad), items, 4, 17)
    points = np.array([0.05, 0.25, 0.5, 0.75, 0.95])
    np.testing.assert_allclose(stats.beta(good, bad).cdf(np.quantile(draws, points)), points, atol=0.015)
    one = beta_committee(np.full(1, good), np.full(1, bad), items[7:8], 4, 17)
    assert np.array_equal(one[:, 0], draws[:, 7]), "an item's draws do not depend on its company"
    assert abs(np.corrcoef(draws[0], draws[1])[0, 1]) < 0.05
    assert not np.array_equal(draws, beta_committee(np.full(n, good), np.full(n, bad), items, 4, 18))


def test_thompson_shows_an_item_as_often_as_it_may_be_the_best():
    one = policy({"type": "thompson_beta", "members": 4096, "explore": 0.0})
    told = Feedback(*(np.array(x) for x in ([0] * 10 + [1] * 4, [1.0] * 6 + [0.0] * 4 + [1.0] * 2 + [0.0] * 2)),
                    np.zeros((14, 1)), np.zeros(14), np.zeros(14, np.int32), np.arange(14))  # fmt: skip
    state = one.update(one.start(2, 1), told)
    said = one.draw(state, Arms(np.arange(2, dtype=np.int32), np.zeros(2), np.zeros((2, 1))))(np.ones(2, dtype=bool))
    rng = np.random.default_rng(0)
    truth = float((rng.beta(7, 5, 400_000) > rng.beta(3, 3, 400_000)).mean())
    assert said[0] == pytest.approx(truth, abs=3 * np.sqrt(0.25 / 4096))


def test_a_committee_by_hand():
    votes = np.array([[3.0, 2.0, 1.0], [3.0, 1.0, 2.0], [0.0, 1.0, 2.0], [9.0, 0.0, 0.0]])
    draw = of_committee(votes, 0.2)
    third = 0.2 / 3
    np.testing.assert_allclose(draw(np.ones(3, dtype=bool)), [0.6 + third, third, 0.2 + third])
    np.testing.assert_allclose(draw(np.array([False, True, True])), [0, 0.4 + 0.1, 0.4 + 0.1])


def test_linucb_wants_what_it_knows_least():
    one = policy({"type": "linucb", "alpha": 1.0, "explore": 0.0})
    zero = np.zeros(50, dtype=np.int32)
    same = np.tile([1.0, 0.0], (50, 1))
    state = one.update(one.start(2, 2), Feedback(zero, np.full(50, 0.1), same, np.zeros(50), zero, np.arange(50)))
    pair = Arms(np.arange(2, dtype=np.int32), np.zeros(2), np.array([[1.0, 0.0], [0.0, 1.0]]))
    assert one.draw(state, pair)(np.ones(2, dtype=bool)).tolist() == [0.0, 1.0]


def test_a_cascade_learns_down_to_the_first_success():
    one = policy({"type": "cascade", "inner": "thompson_beta"})
    reward = np.array([0.0, 1.0, 0.0, 1.0, 0.0, 0.0])
    place = np.array([0, 1, 2, 0, 1, 2], dtype=np.int32)
    told = Feedback(
        np.arange(6, dtype=np.int32), reward, np.zeros((6, 1)), np.zeros(6), place, np.array([7, 7, 7, 9, 9, 9])
    )
    state = one.update(one.start(6, 1), told)
    assert state["tried"].tolist() == [1, 1, 0, 1, 0, 0]
    assert state["won"].tolist() == [0, 1, 0, 1, 0, 0]


def test_lower_places_count_as_much_as_they_are_seen():
    one = policy({"type": "position_based", "inner": "thompson_beta", "seen": [1.0, 0.5]})
    place = np.array([0, 1, 2], dtype=np.int32)
    told = blank(place, np.array([1.0, 1.0, 0.0]), place)
    state = one.update(one.start(3, 1), told)
    assert state["tried"].tolist() == [1, 0.5, 0.5]
    assert state["won"].tolist() == [1, 1, 0]


def test_new_items_get_the_share_that_they_are_promised():
    one = policy({"type": "cold_start", "inner": "greedy", "share": 0.3, "until": 2})
    state = one.start(4, 1)
    shown = np.array([0, 0, 1, 1, 2], dtype=np.int32)
    state = one.update(state, blank(shown, np.zeros(5)))
    assert state["shown"].tolist() == [2, 2, 1, 0]
    candidates = Arms(np.arange(4, dtype=np.int32), np.array([4.0, 3.0, 2.0, 1.0]), np.zeros((4, 1)))
    draw = one.draw(state, candidates)
    np.testing.assert_allclose(draw(np.ones(4, dtype=bool)), [0.7, 0, 0.15, 0.15])
    np.testing.assert_allclose(draw(np.array([True, True, False, False])), [1, 0, 0, 0])


@pytest.mark.parametrize("name", ["thompson_linear", "thompson_neural", "linucb", "cold_start", "thompson_beta"])
def test_a_policy_learns_what_is_good(name: str):
    rng, one = np.random.default_rng(0), policy(name)
    truth = rng.normal(size=DIM)
    catalogue = rng.normal(size=(CATALOGUE, DIM))
    chance = 1 / (1 + np.exp(-2 * catalogue @ truth))
    state = one.start(CATALOGUE, DIM)
    early, late = [], []
    for step in range(300):
        items = rng.permutation(CATALOGUE)[:10].astype(np.int32)
        candidates = Arms(items, np.zeros(10), catalogue[items])
        chosen = choose(one, state, candidates, 2, rng)
        shown = items[chosen.places]
        reward = (rng.random(2) < chance[shown]).astype(float)
        place = np.arange(2, dtype=np.int32)
        state = one.update(state, Feedback(shown, reward, catalogue[shown], np.zeros(2), place, np.full(2, step)))
        (early if step < 30 else late if step >= 200 else []).append(
            np.sort(chance[items])[-2:].mean() - chance[shown].mean()
        )
    assert np.mean(late) < 0.75 * np.mean(early)


@pytest.mark.parametrize("field", ["reward", "contexts", "scores"])
def test_feedback_that_is_no_number_is_refused_by_row(field: str):
    good = feedback(4)
    columns = {
        name: np.array(getattr(good, name)) for name in ("item", "reward", "contexts", "scores", "position", "slate")
    }
    columns[field][2] = np.nan
    with pytest.raises(DataError, match=rf"row 2: {field} is not a finite number"):
        Feedback(**columns)


def test_rewards_that_beta_cannot_hold_are_refused():
    one, zero = policy("thompson_beta"), np.zeros(1, np.int32)
    with pytest.raises(DataError, match="from 0 to 1"):
        one.update(one.start(1, 1), blank(zero, np.array([3.0])))


def test_a_slate_shows_an_item_once():
    with pytest.raises(DataError, match="shows an item once"):
        propensities(policy("softmax"), {}, arms(), np.array([1, 1]))


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(ALL), st.integers(1, 7), st.integers(1, 9), st.booleans(), st.integers(0, 1000))
def test_any_slate_has_propensities_in_bounds(name: str, n: int, k: int, ties: bool, seed: int):
    one, candidates = policy(name), arms(n, seed, ties)
    state = one.start(CATALOGUE, DIM) if seed % 2 else taught(one)
    chosen = choose(one, state, candidates, k, np.random.default_rng(seed))
    assert len(chosen.places) == min(k, n)
    assert ((chosen.propensities > 0) & (chosen.propensities <= 1 + 1e-12)).all()
