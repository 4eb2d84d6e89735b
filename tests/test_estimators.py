"""Estimators: right on average by enumeration, as an independent library has it, and honest of what a log can tell."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genre.component import Slot, names
from genre.errors import ConfigError, DataError
from genre.estimators import Estimate, Evidence
from genre.learn.deciding import choose, marginals, propensities
from genre.learn.evaluation import evaluate_table
from genre.learn.intervals import diagnosed, difference, interval, warnings
from genre.learn.judging import judged
from genre.learn.logchecks import estimated
from genre.learn.rewardmodel import RewardModel, Situation
from genre.learn.rewards import rewards, to_go
from genre.learnsection import LearnSection, RewardSection
from genre.policies import Arms

ALL = names("estimators")
WEIGHTED = ["ips", "snips", "clipped_ips", "independent"]


def value(spec: Any, evidence: Evidence) -> float:
    return Slot("estimators").build(spec).estimate(evidence).value


def one_place(n: int = 500, items: int = 6) -> Evidence:
    rng = np.random.default_rng(0)
    logging, target = rng.dirichlet(np.ones(items), n), rng.dirichlet(np.ones(items), n)
    shown = np.array([rng.choice(items, p=p) for p in logging])
    reward, model, rows = rng.random(n), rng.random((n, items)), np.arange(n)
    columns = (reward, logging[rows, shown], target[rows, shown], model[rows, shown], (target * model).sum(1))
    return Evidence(*(column[:, None] for column in columns))


# What obp 0.5.7 (st-tech/zr-obp) gives for the same inputs.
OBP = {
    "ips": 0.43705373048005114,
    "snips": 0.483542057628259,
    "clipped_ips": 0.3792414127798995,
    "direct": 0.5076243178660822,
    "doubly_robust": 0.5034548346315839,
    "switch_dr": 0.5002554233055758,
}


@pytest.mark.parametrize("name", OBP)
def test_an_independent_library_gives_the_same(name: str):
    spec = {"type": name, "most": 3.0} if name in ("clipped_ips", "switch_dr") else name
    assert value(spec, one_place()) == pytest.approx(OBP[name], abs=1e-12)


def test_by_hand():
    hand = Evidence(
        reward=np.array([[1.0], [0.0], [2.0]]),
        logged=np.array([[0.5], [0.25], [0.1]]),
        target=np.array([[0.25], [0.5], [0.8]]),
        predicted=np.array([[0.5], [0.5], [1.0]]),
        expected=np.array([[0.6], [0.4], [0.9]]),
    )  # weights 0.5, 2, 8
    assert value("ips", hand) == pytest.approx((0.5 + 0 + 16) / 3)
    assert value("snips", hand) == pytest.approx(16.5 / 10.5)
    assert value({"type": "clipped_ips", "most": 4}, hand) == pytest.approx((0.5 + 0 + 8) / 3)
    assert value("direct", hand) == pytest.approx(1.9 / 3)
    assert value("doubly_robust", hand) == pytest.approx((0.6 + 0.25 + 0.4 - 1 + 0.9 + 8) / 3)
    assert value({"type": "switch_dr", "most": 4}, hand) == pytest.approx((0.6 + 0.25 + 0.4 - 1 + 0.9) / 3)
    assert value("cascade_dr", hand) == value("doubly_robust", hand)
    assert value("independent", hand) == value("ips", hand)


@pytest.mark.parametrize("name", ALL)
def test_a_policy_judged_by_its_own_log_is_what_it_earned(name: str):
    own = one_place()
    same = Evidence(own.reward, own.logged, own.logged, own.reward, own.reward)
    assert value(name, same) == pytest.approx(float(own.reward.mean()))


class Lists:
    """Three items, lists of two, every slate there can be; rewards by item, place and, in a cascade, what is above."""

    def __init__(self, cascade: bool) -> None:
        rng = np.random.default_rng(4)
        self.logging = Slot("policies").build({"type": "softmax", "temperature": 1.5})
        self.target = Slot("policies").build({"type": "softmax", "temperature": 0.4, "explore": 0.1})
        item = np.arange(3, dtype=np.int32)
        self.arms = Arms(item, np.array([0.1, 0.5, 0.9]), np.zeros((3, 1)))
        self.wanted = Arms(item, np.array([0.9, 0.2, 0.4]), np.zeros((3, 1)))
        self.worth = rng.random((2, 3))
        self.slates = [np.array(one) for one in itertools.permutations(range(3), 2)]
        self.cascade = cascade

    def reward(self, slate: np.ndarray) -> np.ndarray:
        first = self.worth[0, slate[0]]
        second = self.worth[1, slate[1]] * (1 - first if self.cascade else 1.0)
        return np.array([first, second])

    def chances(self, target: bool) -> list[np.ndarray]:
        policy, arms = (self.target, self.wanted) if target else (self.logging, self.arms)
        return [propensities(policy, {}, arms, slate) for slate in self.slates]

    def truth(self) -> float:
        said = zip(self.chances(True), self.slates, strict=True)
        return float(sum(p.prod() * self.reward(slate).sum() for p, slate in said))

    def evidence(self) -> tuple[Evidence, np.ndarray]:
        """One row a slate, and how often each occurs in the log; with a model that is wrong."""
        rng, model = np.random.default_rng(5), np.random.default_rng(6).random((2, 3))
        draw, there = self.target.draw({}, self.wanted), marginals(self.target, {}, self.wanted, 2, rng, 20000)
        # By enumeration, exactly.
        there = np.zeros((2, 3))
        for p, slate in zip(self.chances(True), self.slates, strict=True):
            there[[0, 1], slate] += p.prod()
        logged_there = np.zeros((2, 3))
        for p, slate in zip(self.chances(False), self.slates, strict=True):
            logged_there[[0, 1], slate] += p.prod()
        expected = np.zeros((6, 2))
        for row, slate in enumerate(self.slates):
            expected[row, 0] = draw(np.ones(3, dtype=bool)) @ model[0]
            expected[row, 1] = draw(np.arange(3) != slate[0]) @ model[1]
        at = np.array(self.slates)
        made = Evidence(
            reward=np.array([self.reward(slate) for slate in self.slates]),
            logged=np.array(self.chances(False)),
            target=np.array(self.chances(True)),
            predicted=np.stack([model[0, at[:, 0]], model[1, at[:, 1]]], 1),
            expected=expected,
            outlook=np.tile((there * model).sum(1), (6, 1)),
            logged_there=np.stack([logged_there[0, at[:, 0]], logged_there[1, at[:, 1]]], 1),
            target_there=np.stack([there[0, at[:, 0]], there[1, at[:, 1]]], 1),
        )
        return made, np.array([p.prod() for p in self.chances(False)])


@pytest.mark.parametrize("name", ["ips", "doubly_robust", "cascade_dr", "independent"])
@pytest.mark.parametrize("cascade", [False, True])
def test_right_on_average_over_every_slate_that_the_log_may_hold(name: str, cascade: bool):
    world = Lists(cascade)
    evidence, often = world.evidence()
    assert often.sum() == pytest.approx(1)
    average = float(Slot("estimators").build({"type": name}).estimate(evidence).top @ often)
    if name == "independent" and cascade:
        assert average != pytest.approx(world.truth(), abs=1e-3), "it says that places do not bear on each other"
    else:
        assert average == pytest.approx(world.truth(), abs=1e-9)


def test_marginals_are_those_of_all_slates():
    world = Lists(False)
    exact = np.zeros((2, 3))
    for p, slate in zip(world.chances(True), world.slates, strict=True):
        exact[[0, 1], slate] += p.prod()
    there = marginals(world.target, {}, world.wanted, 2, np.random.default_rng(0), 3000)
    np.testing.assert_allclose(there[0], exact[0], atol=1e-12)
    np.testing.assert_allclose(there[1], exact[1], atol=4 * 0.5 / np.sqrt(3000))


def simulated(n: int, seed: int) -> tuple[Evidence, float]:
    """A log of a softmax, one place, with a model that is half right; and the true value of another softmax."""
    rng = np.random.default_rng(seed)
    worth = np.random.default_rng(99).random((40, 5))
    person = rng.integers(0, 40, n)
    logging, target = np.exp(worth[:, ::-1] * 2), np.exp(worth * 3)
    logging, target = (one / one.sum(1, keepdims=True) for one in (logging, target))
    shown = (rng.random((n, 1)) > np.cumsum(logging[person], 1)).sum(1)
    reward = (rng.random(n) < worth[person, shown]).astype(float)
    model = 0.25 + 0.5 * worth
    columns = (
        reward,
        logging[person, shown],
        target[person, shown],
        model[person, shown],
        (target * model).sum(1)[person],
    )
    return Evidence(*(c[:, None] for c in columns)), float((target * worth).sum(1).mean())


@pytest.mark.parametrize("method", ["normal", "bootstrap", "bernstein"])
def test_intervals_hold_the_truth_as_often_as_they_say(method: Any):
    held, widths = [], []
    for seed in range(120):
        evidence, truth = simulated(300, seed)
        low, high = interval(
            Slot("estimators").build("doubly_robust").estimate(evidence), evidence.person, method, draws=300
        )
        held.append(low <= truth <= high)
        widths.append(high - low)
    assert np.mean(held) >= 0.9
    assert method == "bernstein" or np.mean(held) <= 0.99
    assert np.mean(widths) < (0.6 if method == "bernstein" else 0.2)


def test_doubly_robust_errs_least():
    errors: dict[str, list[float]] = {name: [] for name in ("ips", "snips", "doubly_robust")}
    for seed in range(100):
        evidence, truth = simulated(300, seed)
        for name, found in errors.items():
            found.append((value(name, evidence) - truth) ** 2)
    assert np.mean(errors["doubly_robust"]) < np.mean(errors["ips"])


def test_slates_of_one_person_are_no_independent_evidence():
    rng = np.random.default_rng(0)
    person = np.repeat(np.arange(20, dtype=np.int32), 50)
    terms = rng.normal(size=20)[person] + 0.01 * rng.normal(size=1000)
    estimate = Estimate.mean(terms, np.ones(1000))
    alone = interval(estimate, np.arange(1000, dtype=np.int32), "normal")
    together = interval(estimate, person, "normal")
    assert together[1] - together[0] > 5 * (alone[1] - alone[0])
    assert interval(estimate, np.zeros(1000, dtype=np.int32)) == (-np.inf, np.inf)


def test_a_difference_is_paired():
    noise = np.random.default_rng(0).normal(size=(500, 1))
    ones = np.ones((500, 1))
    a, b = Evidence(noise + 0.1, ones, ones), Evidence(noise, ones, ones)
    gap = difference(Slot("estimators").build("ips").estimate(a), Slot("estimators").build("ips").estimate(b))
    assert interval(gap, a.person, "normal") == pytest.approx((0.1, 0.1))


def test_diagnostics_by_hand_and_in_words():
    found = diagnosed(np.array([0.0, 0.0, 1.0, 3.0]))
    assert found["effective"] == pytest.approx(16 / 10)
    assert (found["mean"], found["highest"], found["highest_share"], found["zero"]) == (1.0, 3.0, 0.75, 0.5)
    said = " ".join(warnings(found))
    assert "effective sample size" in said
    assert "one slate has 75% of all weight" in said
    half = " ".join(warnings(diagnosed(np.full(5000, 0.5))))
    assert "50% of what the policy shows is never in the log" in half
    assert warnings(diagnosed(np.ones(5000))) == []


# What a log must have


def table(path: Path, **columns: Any) -> Path:
    rng = np.random.default_rng(0)
    rows: dict[str, Any] = {
        "reward": rng.random(60).round(3),
        "target": np.full(60, 0.3),
        "propensity": np.full(60, 0.5),
    }
    rows |= columns
    names = [name for name, column in rows.items() if column is not None]
    lines = [",".join(str(rows[name][i]) for name in names) for i in range(60)]
    path.write_text("\n".join([",".join(names), *lines]) + "\n", encoding="utf-8")
    return path


def changed(at: int, to: Any, column: float = 0.5) -> list[Any]:
    said: list[Any] = [column] * 60
    said[at] = to
    return said


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"propensity": changed(4, 0.0)}, r"row 5: the propensity 0 is not above 0"),
        ({"propensity": changed(6, 1.5)}, r"row 7: the propensity 1.5 is above 1"),
        ({"propensity": changed(2, "")}, r"row 3: the propensity nan is missing.*learn.propensities: estimated"),
        ({"propensity": [1.0] * 60}, r"100% of the slates had the propensity 1.*--supported"),
        ({"reward": changed(8, "")}, r"row 9: the reward nan is no finite number"),
        ({"target": changed(1, 1.2)}, r"row 2: target is 1.2, and it is a probability"),
        ({"reward": changed(3, "much")}, r"log.csv:5: reward is 'much'"),
        ({"propensity": None}, r"no column 'propensity'.*context_"),
        ({"target": None}, r"no column 'target'"),
    ],
)
def test_a_log_that_cannot_tell_is_refused_with_its_row_and_the_mend(columns: Any, message: str, tmp_path: Path):
    with pytest.raises(DataError, match=message):
        evaluate_table(table(tmp_path / "log.csv", **columns), LearnSection())


def test_a_log_without_chance_is_judged_where_it_can_be_on_request(tmp_path: Path):
    target = [0.0] * 20 + [0.6] * 40
    found = evaluate_table(table(tmp_path / "log.csv", propensity=[1.0] * 60, target=target), LearnSection(), True)
    assert found["diagnostics"]["slates"] == 40
    assert "judged on the 67% of the slates" in found["warnings"][0]


def test_a_table_with_slates_and_a_model(tmp_path: Path):
    slate = [f"s{i // 3}" for i in range(60)]
    place = [2 - i % 3 for i in range(60)]
    path = table(tmp_path / "log.csv", slate_id=slate, position=place, predicted=[0.5] * 60, expected=[0.4] * 60)
    found = evaluate_table(path, LearnSection())
    assert found["diagnostics"]["slates"] == 20
    assert set(found["values"]) == set(ALL)
    assert found["values"]["direct"]["value"] == pytest.approx(1.2)
    assert found["values"]["direct"]["gain"]["value"] == pytest.approx(1.2 - found["logging"]["value"])
    less = evaluate_table(table(tmp_path / "less.csv", slate_id=slate), LearnSection())
    assert set(less["values"]) == set(WEIGHTED)
    assert "reward model" in less["left_out"]["doubly_robust"]
    json.dumps(found, allow_nan=False)


def test_propensities_are_estimated_and_said_to_be(tmp_path: Path):
    rng = np.random.default_rng(0)
    n = 1500
    context = rng.normal(size=(n, 2))
    logits = context @ rng.normal(size=(2, 4)) * 1.5
    chance = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    shown = (rng.random((n, 1)) > np.cumsum(chance, 1)).sum(1).astype(np.int32)
    person = np.arange(n, dtype=np.int32) // 5
    fitted = estimated(shown, context, person)
    true = chance[np.arange(n), shown]
    assert np.corrcoef(np.log(fitted.propensity), np.log(true))[0, 1] > 0.95
    assert fitted.facts["log_loss"] < fitted.facts["shares"] - 0.2
    assert fitted.facts["calibration"] < 0.05
    assert ((fitted.propensity > 0) & (fitted.propensity <= 1)).all()
    reward = [float(one) for one in shown[:60] % 2]
    columns = {"item_id": shown[:60], "context_a": context[:60, 0], "user_id": person[:60], "reward": reward}
    found = evaluate_table(table(tmp_path / "log.csv", propensity=None, **columns), LearnSection())
    assert "propensities were estimated" in found["warnings"][0]
    with pytest.raises(DataError, match="too few people"):
        estimated(shown[:10], context[:10], np.zeros(10, dtype=np.int32))


def test_the_reward_model_has_not_seen_the_person_it_is_asked_of():
    rng = np.random.default_rng(0)
    n, m, d = 600, 12, 3
    person = np.arange(n, dtype=np.int32) % 60
    people, items = rng.normal(size=(60, d))[person], rng.normal(size=(m, d))
    known = Situation(people, items, np.zeros((n, m, 0)), person)
    slate, item = np.arange(n), rng.integers(0, m, n)
    place = np.zeros(n, dtype=np.int64)
    reward = (people * items[item]) @ np.array([1.0, -0.5, 0.2]) + 0.3 + 0.1 * rng.normal(size=n)
    model = RewardModel.fit(known, slate, item, place, reward, 1)
    assert model.error < 0.4 * model.spread
    said = model.predict(known, np.arange(5))
    assert said.shape == (5, m)
    # What one person earned does not change what is said of them.
    other = reward.copy()
    other[person == 7] += 100.0
    again = RewardModel.fit(known, slate, item, place, other, 1)
    mine = np.flatnonzero(person == 7)
    np.testing.assert_allclose(model.predict(known, mine), again.predict(known, mine))
    assert not np.allclose(model.predict(known, slate), again.predict(known, slate))


# Rewards


def test_rewards_by_events_columns_and_heads():
    from finished import finished
    from genre.data import Dataset, Log

    run = finished()
    log, heads = Log.of(Dataset.load(run.path("data"))), run.config.model.heads
    section = RewardSection(events={"rate": 0.5}, columns={"value": 0.1}, heads={"like": 2.0})
    np.testing.assert_allclose(rewards(section, log, heads), 0.5 + 0.1 * log.value + 2.0 * (log.value >= 4), rtol=1e-6)
    with pytest.raises(ConfigError, match=r"no row of the log is worth anything.*rate"):
        rewards(RewardSection(), log, heads)
    with pytest.raises(ConfigError, match=r"columns.valeu.*did you mean 'value'"):
        rewards(RewardSection(columns={"valeu": 1.0}), log, heads)
    with pytest.raises(ConfigError, match=r"heads.liek.*did you mean 'like'"):
        rewards(RewardSection(heads={"liek": 1.0}), log, heads)


def test_what_the_rest_of_a_session_brings():
    person = np.array([0, 0, 0, 1, 1])
    time = np.array([0.0, 60.0, 86400.0, 0.0, 10.0])
    reward = np.array([1.0, 2.0, 4.0, 8.0, 16.0])
    np.testing.assert_allclose(to_go(reward, person, time, 0.5, 30), [2.0, 2.0, 4.0, 16.0, 16.0])
    np.testing.assert_allclose(to_go(reward, person, time, 0.0, 30), reward)
    np.testing.assert_allclose(to_go(np.ones(4), np.zeros(4), np.zeros(4), 1.0, 30), [4, 3, 2, 1])


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(ALL), st.integers(1, 30), st.integers(1, 4), st.integers(0, 10_000))
def test_any_evidence_gives_a_finite_value_whose_terms_average_to_it(name: str, n: int, k: int, seed: int):
    rng = np.random.default_rng(seed)
    reward, logged = rng.normal(size=(n, k)), rng.uniform(0.01, 1, (n, k))
    target, predicted, expected = rng.uniform(0.01, 1, (n, k)), rng.normal(size=(n, k)), rng.normal(size=(n, k))
    estimate = Slot("estimators").build(name).estimate(Evidence(reward, logged, target, predicted, expected))
    assert np.isfinite(estimate.value)
    assert estimate.terms.mean() == pytest.approx(estimate.value, rel=1e-6, abs=1e-6)
    assert estimate.weights.shape == (n,)


def test_nothing_to_judge_by():
    empty = np.zeros((0, 1))
    with pytest.raises(DataError, match="no slate"):
        judged(Evidence(empty, empty, empty), LearnSection(), "log")
    none = Arms(np.zeros(0, dtype=np.int32), np.zeros(0), np.zeros((0, 1)))
    assert not len(choose(Slot("policies").build("softmax"), {}, none, 3, np.random.default_rng(0)).places)
