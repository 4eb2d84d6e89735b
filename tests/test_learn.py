"""Learning from logs: decisions of a run, a policy that is better and can show it, and the gate."""

from __future__ import annotations

import functools
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from genre.cli import commands
from genre.component import Slot
from genre.config import Config
from genre.data import Dataset, Log
from genre.errors import ConfigError, DataError, RunError
from genre.learn.deciding import choose
from genre.learn.decisions import Decisions, decisions, of_part
from genre.learn.evaluation import evaluate, taught
from genre.learn.fit import fit, load_policy
from genre.learn.policyfitting import Places, Weights, _moved, value
from genre.learn.targeting import evidence
from genre.run import Run
from shopworld import ITEMS, PEOPLE, SLATES, K, chance, learned_shop, logging_policy
from toyworld import circle, dataset


@functools.cache
def found() -> Decisions:
    run = learned_shop()
    return decisions(run.config, run)


def person_of(some: Decisions) -> Any:
    ids = Dataset.load(learned_shop().path("data")).users["user_id"].to_pylist()
    return np.array([int(ids[row][1:]) for row in some.known.person])


def truth(some: Decisions, policy: Any, state: Any, draws: int = 1, slates: int = 400) -> float:
    """What a policy earns, by the shop's own chances."""
    ids = Dataset.load(learned_shop().path("data")).items["item_id"].to_pylist()
    rng, person, earned = np.random.default_rng(1), person_of(some), []
    for row in rng.choice(len(some), slates, replace=False):
        arms = some.arms(row)
        for _ in range(draws):
            places = choose(policy, state, arms, K, rng).places
            earned.append(chance(person[row], [int(ids[i][1:]) for i in arms.item[places]]).sum())
    return float(np.mean(earned))


def test_decisions_are_the_slates_of_the_log():
    some = found()
    assert some.item.shape == (PEOPLE * SLATES, K)
    log = Log.of(Dataset.load(learned_shop().path("data")))
    assert some.reward.sum() == (log.action == log.actions.index("click")).sum()
    assert set(np.unique(some.reward)) == {0.0, 1.0}
    assert (some.propensity < 1).all()
    table = Dataset.load(learned_shop().path("data")).interactions
    first = {(r["user_id"], r["impression_id"]): r for r in table.to_pylist() if r["position"] == 1}
    ids = Dataset.load(learned_shop().path("data"))
    users, items = ids.users["user_id"].to_pylist(), ids.items["item_id"].to_pylist()
    own = sorted((users[p], items[some.catalogue[i]], q) for p, i, q in
                 zip(some.known.person, some.item[:, 0], some.propensity[:, 0], strict=True))  # fmt: skip
    assert own == sorted((r["user_id"], r["item_id"], r["propensity"]) for r in first.values())
    assert [len(of_part(some, part)) for part in ("train", "valid", "test")] == [PEOPLE * n for n in (8, 3, 5)]
    arms = some.arms(0)
    assert arms.contexts.shape == (ITEMS, some.dim)
    told = some.feedback()
    np.testing.assert_allclose(told.contexts[0], arms.contexts[some.item[0, 0]])


def test_the_estimates_hold_the_truth():
    run, some = learned_shop(), of_part(found(), "test")
    result = evaluate(run.config, run)
    true = truth(some, run.config.learn.policy, {}, draws=8)
    for name in ("cascade_dr", "doubly_robust", "independent", "snips"):
        one = result["values"][name]
        wide = one["ci"][1] - one["ci"][0]
        assert one["ci"][0] - 0.3 * wide < true < one["ci"][1] + 0.3 * wide, name
    widths = {name: one["ci"][1] - one["ci"][0] for name, one in result["values"].items()}
    assert widths["cascade_dr"] < widths["ips"]
    assert json.loads((run.path("learn") / "evaluate.json").read_text()) == result
    # The log's own policy, judged by itself, earns what the log did.
    assert result["logging"]["value"] == pytest.approx(float(some.reward.sum(1).mean()))


def test_a_policy_that_learns_is_judged_on_what_it_did_not_learn_from():
    run = learned_shop()
    conf = replace(run.config, learn=replace(run.config.learn, policy=Slot("policies").build("thompson_linear")))
    state = taught(conf, found())
    assert state["count"] == PEOPLE * 11 * K
    result = evaluate(conf, run)
    assert result["values"]["cascade_dr"]["gain"]["ci"][0] > 0


@pytest.mark.parametrize("method", ["doubly_robust", "policy_gradient"])
def test_a_learned_policy_is_better_in_truth_and_passes_the_gate(method: Any, tmp_path: Path):
    import shutil

    shutil.copytree(learned_shop().folder, tmp_path / "shop")
    run = Run.open(tmp_path / "shop")
    learner = Slot("learners").build({"type": method, "leash": 0.01, "epochs": 30})
    learn = replace(run.config.learn, fit=learner)
    result = fit(replace(run.config, learn=learn), run, lambda line: None)
    some = of_part(found(), "test")
    policy, state, manifest = load_policy(run.path("learn") / "candidate")
    mine, start = truth(some, policy, state), truth(some, policy, policy.start(ITEMS, some.dim))
    assert mine > some.reward.sum(1).mean() + 0.1
    assert mine > start - 0.02
    assert result["gate"]["published"], result["gate"]["why"]
    assert manifest["gate"] == result["gate"]
    assert set(result["gate"]["guards"]) == {"diversity", "tail", "worst_group"}
    published, same, _ = load_policy(run.path("learn") / "policy")
    assert published == policy
    assert all(np.array_equal(same[name], array) for name, array in state.items())
    assert json.loads((run.path("learn") / "learn.json").read_text()) == result
    page = (run.path("learn") / "learn.html").read_text()
    assert "published" in page
    assert "<svg" in page
    (run.path("learn") / "policy" / "state.safetensors").write_bytes(b"0")
    with pytest.raises(RunError, match="SHA-256"):
        load_policy(run.path("learn") / "policy")


def test_what_looks_ahead_is_judged_by_sessions(tmp_path: Path):
    import shutil

    shutil.copytree(learned_shop().folder, tmp_path / "shop", ignore=shutil.ignore_patterns("learn"))
    run = Run.open(tmp_path / "shop")
    learn = replace(
        run.config.learn,
        fit=Slot("learners").build({"type": "conservative_q", "epochs": 10}),
        reward=replace(run.config.learn.reward, discount=0.5),
    )
    result = fit(replace(run.config, learn=learn), run, lambda line: None)
    assert result["judged"] == "session"
    assert set(result["systems"]["learned"]["values"]) == {"cascade_dr", "ips", "snips"}
    # A session of the test part is five slates; each counts half of the one before.
    some = of_part(found(), "test")
    own = some.reward.sum(1).reshape(PEOPLE, 5) @ 0.5 ** np.arange(5)
    assert result["systems"]["learned"]["logging"]["value"] == pytest.approx(own.mean())
    assert result["systems"]["learned"]["diagnostics"]["slates"] == PEOPLE
    assert (run.path("learn") / "policy").exists() == result["gate"]["published"]
    assert "Mean reward of a session" in (run.path("learn") / "learn.html").read_text()


def test_what_is_not_surely_better_or_harms_a_guard_is_not_published(tmp_path: Path):
    import shutil

    shutil.copytree(learned_shop().folder, tmp_path / "shop", ignore=shutil.ignore_patterns("learn"))
    run = Run.open(tmp_path / "shop")
    section = run.config.learn
    strict = replace(section, gate=replace(section.gate, tolerance=0.0, guards=["tail"]))
    gate = fit(replace(run.config, learn=strict), run, lambda line: None)["gate"]
    assert gate["gain"]["ci"][0] > 0
    assert gate["why"] == [gate["why"][0]]
    assert "tail fell" in gate["why"][0]
    # A level that the log cannot give: nothing is sure.
    unsure = replace(section, level=0.999999, interval="bernstein", gate=replace(section.gate, guards=[]))
    gate = fit(replace(run.config, learn=unsure), run, lambda line: None)["gate"]
    assert "not surely above 0" in gate["why"][0]
    assert not (run.path("learn") / "policy").exists()
    assert (run.path("learn") / "candidate" / "manifest.json").exists()
    assert "not published" in (run.path("learn") / "learn.html").read_text()


def test_the_gradient_is_that_of_the_value_and_the_leash():
    run, some = learned_shop(), found()
    places = Places.of(some, 0.5)
    rows = np.arange(64)
    rng = np.random.default_rng(0)
    weights = Weights(rng.normal(size=some.dim + 1) * 0.1, rng.normal(size=ITEMS) * 0.1)
    for leash in (0.0, 3.0):
        section = replace(run.config.learn.fit, leash=leash, most_weight=1e9)
        moved, _ = _moved(places, rows, weights, section)
        slope = places.gradient(rows, moved)
        few = replace_rows(places, rows)
        for at in (0, 3):
            ends = []
            for by in (1e-5, -1e-5):
                item = weights.item.copy()
                item[at] += by
                ends.append(value(few, Weights(weights.pair, item), section) * len(some) / len(rows))
            assert slope.item[at] == pytest.approx((ends[0] - ends[1]) / 2e-5, rel=1e-3, abs=1e-7)
        for at in (0, 2, some.dim):
            ends = []
            for by in (1e-5, -1e-5):
                pair = weights.pair.copy()
                pair[at] += by
                ends.append(value(few, Weights(pair, weights.item), section) * len(some) / len(rows))
            assert slope.pair[at] == pytest.approx((ends[0] - ends[1]) / 2e-5, rel=1e-3, abs=1e-7)


def replace_rows(places: Places, rows: Any) -> Places:
    return replace(places, slate=places.slate[rows], place=places.place[rows], item=places.item[rows])


def test_logs_and_runs_that_cannot_be_judged_are_refused(tmp_path: Path):
    from finished import finished

    run = finished()
    rated = replace(
        run.config, learn=replace(run.config.learn, reward=replace(run.config.learn.reward, events={"rate": 1.0}))
    )
    with pytest.raises(DataError, match=r"interactions.parquet, row 1: the propensity nan is missing"):
        evaluate(rated, run)
    estimated = replace(rated, learn=replace(rated.learn, propensities="estimated"))
    result = evaluate(estimated, run)
    assert "propensities were estimated" in result["warnings"][0]
    assert result["propensities"]["log_loss"] > 0
    log = Log.of(Dataset.load(run.path("data")))
    beyond = len(log) - int(np.sort(np.bincount(log.item))[-5:].sum())
    few = replace(estimated, learn=replace(estimated.learn, items=5))
    assert decisions(few, run).facts["left_out"] == {"an item beyond the 5 shown most (learn.items)": beyond}
    bare = Run.create(Config(name="bare", data={"reader": "jester"}), tmp_path)
    dataset(circle()).save(bare.path("data"))
    with pytest.raises(RunError, match="two_tower model"):
        decisions(replace(estimated, name="bare"), bare)
    many = replace(rated, learn=replace(rated.learn, propensities="estimated"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("genre.learn.decisions.MOST", 1000)
        with pytest.raises(ConfigError, match=r"learn.items: 960 slates times 20 items"):
            decisions(many, run)


def test_the_commands_say_what_they_found(tmp_path: Path):
    run = learned_shop()
    done = CliRunner().invoke(commands, ["learn", "evaluate", str(run.folder)])
    assert done.exit_code == 0, done.output
    assert "cascade_dr" in done.output
    assert "effective" in done.output
    done = CliRunner().invoke(commands, ["learn", "fit", str(run.folder)])
    assert done.exit_code == 0, done.output
    assert "published" in done.output
    path = tmp_path / "log.csv"
    path.write_text("reward,target,propensity\n1,0.5,0.25\n0,0.5,0.75\n", encoding="utf-8")
    done = CliRunner().invoke(commands, ["learn", "evaluate", str(path)])
    assert done.exit_code == 0, done.output
    assert "snips" in done.output
    done = CliRunner().invoke(commands, ["learn", "evaluate", str(run.folder), "--estimated"])
    assert done.exit_code == 0, done.output
    assert "estimated" in done.output


def test_of_many_places_each_is_one_decision():
    some = found()
    made, exposure = evidence(of_part(some, "test"), logging_policy(), {})
    assert exposure.sum() == pytest.approx(1)
    assert ((made.target > 0) & (made.target <= 1)).all()
    assert made.expected is not None
    assert made.outlook is not None
    np.testing.assert_allclose(made.expected[:, 0], made.outlook[:, 0])
