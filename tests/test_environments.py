"""Environments: worlds whose truth is known, and policies playing in them."""

from __future__ import annotations

import json
import os
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from genre.component import Slot, component, names
from genre.config import Config
from genre.datasets import Reading
from genre.environments import Environment, World
from genre.environments.ratings import Ratings
from genre.environments.simulator import Simulator
from genre.errors import ConfigError, DataError
from genre.learn.knowledge import Knowledge, Standing
from genre.learn.playing import Table, play
from genre.learn.simulate import estimate, simulate, told
from genre.policies import Feedback
from toyworld import tiny_backbone

DATA = Path(os.environ.get("GENRE_DATA") or "../shared/data")


@component
class Toy:
    """80 people rate 24 items whose words say who likes them: half of the people like each of two kinds."""

    missing: float = 0.0
    """Share of the ratings that are not there."""

    def files(self) -> list[Path]:
        return []

    def read(self) -> Reading:
        rng = np.random.default_rng(0)
        person, item = (one.ravel() for one in np.meshgrid(np.arange(80), np.arange(24), indexing="ij"))
        liked = (person % 2) == (item % 2)
        value = np.clip(np.where(liked, 4.2, 1.8) + 0.4 * (item % 5 == 0) + rng.normal(0, 0.3, len(item)), 1, 5)
        kept = rng.random(len(item)) >= self.missing
        rows = {"user_id": [f"u{one}" for one in person[kept]], "item_id": [f"i{one}" for one in item[kept]]}
        log = pa.table({**rows, "value": value[kept], "part": np.where(item[kept] < 12, "train", "test")})
        titles = [f"{'red' if one % 2 else 'blue'}{'cup' if one % 3 else 'hat'} word{one}" for one in range(24)]
        return Reading(log, pa.table({"item_id": [f"i{one}" for one in range(24)], "text": titles, "title": titles}))


def ratings(**settings: Any) -> Ratings:
    return Ratings(reader=Toy(), visits=8, **settings)


def vectors(world: World) -> np.ndarray:
    """What a language model that understands the toy would say: the colour, and noise."""
    noise = 0.1 * np.random.default_rng(0).normal(size=(24, 4))
    return np.concatenate([[[float(text.startswith("red"))] for text in world.texts], noise], 1)


@pytest.mark.parametrize("name", names("environments"))
def test_a_world_is_whole_and_the_same_for_the_same_seed(name: str):
    environment: Environment = Slot("environments").build({"type": name, "reader": Toy(), "visits": 8})
    one, again, other = (environment.build(120, seed) for seed in (3, 3, 4))
    assert len(one.order) == 120
    assert one.order.max() < len(one.expected)
    assert np.bincount(one.order).max() <= 8
    assert np.array_equal(one.order, again.order)
    assert np.array_equal(one.expected, again.expected, equal_nan=True)
    assert not np.array_equal(one.new, other.new)
    assert np.isnan(one.past[:, one.new]).all()
    assert np.isfinite(one.past[:, ~one.new]).any(0).all()
    assert np.nanmin(one.expected) >= 0
    assert np.nanmax(one.expected) <= 1


def test_ratings_are_those_of_the_log():
    world = ratings(new=0.0, past=0.0).build(80 * 8, 1)
    table = Toy().read().interactions
    value = np.array(table["value"].to_pylist())
    scaled = np.sort((value - value.min()) / np.ptp(value))
    np.testing.assert_allclose(np.sort(world.expected.ravel()), scaled)
    rng = np.random.default_rng(0)
    shown = np.array([3, 5], dtype=np.int32)
    assert np.array_equal(world.reward(7, shown, 0, rng), world.expected[7, shown])


def test_a_part_is_played_and_the_other_is_past():
    world = ratings(part="test", new=0.0, dense=0.0).build(40, 1)
    assert np.isnan(world.expected[:, :12]).all()
    assert np.isfinite(world.expected[:, 12:]).all()
    assert np.isfinite(world.past[:, :12]).all()
    assert not world.known(0)[:12].any()


def test_worlds_that_cannot_be_are_refused():
    with pytest.raises(DataError, match="nobody rated 100%"):
        Ratings(reader=Toy(missing=0.5)).build(40, 1)
    with pytest.raises(DataError, match="no column 'plot'"):
        ratings(text="plot").build(40, 1)


def test_only_new_items_are_offered_on_request():
    world = ratings(offer="new").build(40, 1)
    assert np.array_equal(world.known(0), world.new)
    assert not ratings(offer="old").build(40, 1).known(0)[world.new].any()


def test_tastes_drift_to_those_of_another():
    world = ratings(drift=1.0).build(100, 1)
    np.testing.assert_allclose(world.now(0, 0), world.expected[0])
    np.testing.assert_allclose(world.now(0, 99), world.expected[1])
    half = world.now(0, 50)
    assert (np.abs(half - world.expected[0]) > 0).any()


def test_the_simulator_says_how_true_it_is():
    world = Simulator(reader=Toy(missing=0.3), rank=2, reg=1.0, visits=8).build(80, 0)
    assert world.facts["held_out_rmse"] < 0.6 * world.facts["item_mean_rmse"]
    rewards = np.concatenate(
        [world.reward(0, np.array([1], dtype=np.int32), 0, np.random.default_rng(i)) for i in range(2000)]
    )
    assert set(rewards.tolist()) == {0.0, 1.0}
    assert rewards.mean() == pytest.approx(world.expected[0, 1], abs=0.05)


# Playing


def of(name: Any, world: World, kind: Any = "past", slate: int = 1) -> Any:
    return play(world, Slot("policies").build(name), Knowledge.of(world, kind, vectors(world)), slate, 0)


def test_regret_by_hand():
    world = ratings(new=0.0).build(40, 2)
    clever = replace(world, past=world.expected)
    played = of("greedy", world, "nothing")
    best = [np.sort(world.expected[person])[::-1] for person in world.order.tolist()]
    assert played.regret[0] == pytest.approx(best[0][0] - played.reward[0])
    assert (played.regret >= -1e-12).all()
    np.testing.assert_allclose(played.best - played.regret, played.reward)
    assert of("greedy", clever).regret.sum() < 0.6 * played.regret.sum()
    assert np.bincount(played.visit).max() <= len(world.expected)


def test_nobody_is_shown_an_item_twice():
    world = ratings().build(40, 2)
    table = Table(world, Knowledge.of(world, "past"))
    seen: set[int] = set()
    for _ in range(5):
        arms = table.arms(0)
        assert not seen & set(arms.item.tolist())
        table.show(0, arms.item[:3])
        seen |= set(arms.item[:3].tolist())
    assert len(seen) == 15


def test_what_a_person_did_tells_what_they_like():
    world = ratings(new=0.0).build(40, 2)
    known = Knowledge.of(world, "past")
    table = Table(world, known)
    liked = np.flatnonzero(world.expected[0] > 0.5)[:4]
    table.earn(0, liked, world.expected[0][liked])
    arms = table.arms(0)
    assert np.corrcoef(arms.scores, world.expected[0][arms.item])[0, 1] > 0.8


def test_texts_tell_of_new_items_what_nothing_else_does():
    regrets: dict[str, list[float]] = {"past": [], "text": []}
    for seed in range(4):
        world = ratings(offer="new", new=0.5).build(160, seed)
        for kind, found in regrets.items():
            found.append(float(of("greedy", world, kind).regret.sum()))
    assert np.mean(regrets["text"]) < 0.7 * np.mean(regrets["past"])


def test_the_belief_in_worth_is_exactly_that_of_the_gaussian_model():
    rng = np.random.default_rng(1)
    read, counts = rng.normal(size=(7, 2)), np.array([0.0, 3, 1, 0, 8, 2, 0])
    known = Knowledge(
        overall=0.4, counts=counts, sums=counts * rng.normal(0.5, 0.3, 7), read=read, spread=0.3, scatter=0.8,
        factors=np.zeros((7, 0)), noise=0.8,
    )  # fmt: skip
    belief = Standing(known)
    shown, earned = [np.array([0, 4]), np.array([0]), np.array([3])], [np.array([0.9, 0.1]), np.ones(1), np.zeros(1)]
    for item, reward in zip(shown, earned, strict=True):
        belief.add(item, reward)
    every, sums = counts.copy(), known.sums.copy()
    np.add.at(every, np.concatenate(shown), 1)
    np.add.at(sums, np.concatenate(shown), np.concatenate(earned))
    have = every > 0
    prior = read @ read.T + 0.3 * np.eye(7)
    seen = prior[np.ix_(have, have)] + np.diag(0.8 / every[have])
    right = 0.4 + prior[:, have] @ np.linalg.solve(seen, (sums[have] / every[have]) - 0.4)
    np.testing.assert_allclose(belief.values(), right, atol=1e-10)
    assert not np.allclose(known.standing, right)
    assert np.array_equal(known.counts, counts), "what was known before stays as it is"


def test_a_reward_tells_of_what_reads_alike():
    world = ratings(new=0.5).build(40, 2)
    red = np.array([text.startswith("red") for text in world.texts])
    world = replace(world, past=world.past + 0.5 * red)
    belief = Standing(Knowledge.of(world, "text", vectors(world)))
    first, others = np.flatnonzero(world.new & red)[0], world.new & red
    others[first] = False
    before = belief.values()
    for _ in range(10):
        belief.add(np.array([first]), np.full(1, 3.0))
    risen = belief.values() - before
    assert risen[first] > risen[others].max()
    assert risen[others].mean() > 0 > risen[world.new & ~red].mean()
    plain = Standing(Knowledge.of(world, "past"))
    before = plain.values()
    plain.add(np.array([first]), np.ones(1))
    assert np.array_equal(np.flatnonzero(plain.values() != before), [first])


def test_texts_that_say_nothing_are_given_no_say():
    world = ratings(new=0.2).build(40, 2)
    noise = np.random.default_rng(5).normal(size=(24, 3))
    known = Knowledge.of(world, "text", noise)
    plain = Knowledge.of(world, "past")
    assert np.square(known.read).sum(1).mean() < 0.5 * known.spread
    assert np.abs(known.standing - plain.standing).max() < 0.05


def test_a_policy_may_have_learned_before():
    world = ratings(new=0.0).build(40, 2)
    known = Knowledge.of(world, "nothing")
    people, item = np.nonzero(np.isfinite(world.past))
    zero, rows = np.zeros(len(item)), np.arange(len(item))
    log = Feedback(
        item.astype(np.int32), world.past[people, item], np.zeros((len(item), 3)), zero, zero.astype(np.int32), rows
    )
    policy = Slot("policies").build("thompson_beta")
    fresh, taught = (play(world, policy, known, 1, 0, before) for before in (None, log))
    assert taught.regret.sum() < fresh.regret.sum()


def test_an_environment_reads_a_column_or_a_template():
    assert set(ratings(text="title").build(40, 1).texts) == set(Toy().read().items["title"].to_pylist())  # pyright: ignore[reportOptionalSubscript]
    assert ratings(text="{item_id}: {title}").build(40, 1).texts[3] == "i3: redhat word3"
    told = Simulator(reader=Toy(), visits=8, text="a {title}").build(40, 0).texts
    assert sorted(told)[0] == "a bluecup word10"
    for one in (ratings(text="{title} {plot}"), Simulator(reader=Toy(), text="plot")):
        with pytest.raises(DataError, match=r"environment.text: the items have no column 'plot'"):
            one.build(40, 1)


def test_late_feedback_is_not_known_before_it_comes():
    world = ratings(new=0.0).build(200, 2)
    soon, late = of("thompson_linear", world), of("thompson_linear", replace(world, delay=1000))
    assert soon.regret.sum() < late.regret.sum()
    first = of("thompson_linear", replace(world, delay=1000)).reward
    assert np.array_equal(first, late.reward), "the same seed gives the same"


def test_a_slate_of_several():
    played = of("softmax", ratings().build(60, 2), slate=3)
    assert played.best.max() > 1.5
    assert (played.regret >= -1e-12).all()


def test_intervals_by_hand():
    found = estimate(np.array([1.0, 2.0, 3.0]))
    assert found["value"] == 2
    assert found["ci95"][1] == pytest.approx(2 + 4.302653 / np.sqrt(3))


def test_simulate_writes_numbers_and_a_picture(tmp_path: Path):
    play_in = {"type": f"{__name__}:Toy"}
    environment = {"type": "ratings", "reader": play_in, "visits": 8}
    policies = {"chance": {"type": "softmax", "temperature": 1e6}, "greedy": "greedy", "neural": "thompson_neural"}
    section = {"environment": environment, "policies": policies, "rounds": 80, "seeds": 3}
    config = Config(
        data={"reader": play_in}, model={"backbone": tiny_backbone(tmp_path / "bert")}, learn={"simulate": section}
    )
    result = simulate(config, tmp_path / "learn", say=lambda line: None)
    assert result == json.loads((tmp_path / "learn" / "simulate.json").read_text())
    found = result["policies"]
    assert found["greedy"]["regret"]["ci95"][1] < found["chance"]["regret"]["ci95"][0]
    assert len(found["greedy"]["cold"]["visit"]) == 8
    assert found["greedy"]["first_visits"]["value"] == pytest.approx(
        sum(one["value"] for one in found["greedy"]["cold"]["regret"])
    )
    picture = (tmp_path / "learn" / "simulate.svg").read_text()
    assert picture.startswith("<svg")
    assert "neural" in picture
    bare = Config(data={"reader": play_in})
    with pytest.raises(ConfigError, match=r"learn.simulate.environment.*ratings, simulator"):
        simulate(bare, tmp_path)
    assert told([of("greedy", ratings().build(40, s)) for s in (1, 2)])["regret"]["value"] > 0


def test_gymnasium_takes_a_world():
    pytest.importorskip("gymnasium")
    from gymnasium.utils.env_checker import check_env

    from genre.learn.gymworld import WorldEnv

    env = WorldEnv(ratings(), slate=2, rounds=80, seed=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it advises bounded spaces, which rewards and scores have not
        check_env(env, skip_render_check=True)
    seen, told_of = env.reset(seed=0)
    best = np.argsort(-np.where(seen["open"] > 0, env.world.expected[told_of["person"]], -1))[:2]
    after, reward, done, cut, info = env.step(best)
    assert info["regret"] == pytest.approx(0)
    assert reward == pytest.approx(env.world.expected[told_of["person"]][best].sum())
    assert not after["open"][best].any()
    assert not cut
    steps = 1
    while not done:
        still = np.flatnonzero(after["open"])
        after, reward, done, cut, info = env.step(np.array([still[0], still[0]]))
        assert info["regret"] >= 0
        steps += 1
    assert steps == env.visits


@pytest.mark.data
@pytest.mark.parametrize(
    ("folder", "settings", "people"),
    [
        ("jester-5k", {}, 100),
        ("coat-shopping", {"reader": "coat", "part": "test", "text": "title", "dense": 0.0}, 100),
    ],
)
def test_real_worlds(folder: str, settings: dict[str, Any], people: int):
    if not (DATA / folder).is_dir():
        pytest.skip(f"{DATA / folder} is not there")
    world = Slot("environments").build({"type": "ratings", **settings}).build(2000, 0)
    assert len(world.expected) == people
    offered = np.isfinite(world.expected).sum(1)
    assert offered.min() >= 16
    assert Knowledge.of(world, "past").standing.std() > 0.01
