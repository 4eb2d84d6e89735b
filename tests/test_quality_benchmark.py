"""benchmarks/quality.py and what it hands to outside libraries, without any of them."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from finished import finished
from genre.component import Slot
from genre.configfile import load
from genre.metrics import Ranking
from genre.ranking import ranks
from toyworld import circle, dataset

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

import quality  # noqa: E402
from peers import environment, exchange, tables  # noqa: E402
from peers.offer import Budget, Offer  # noqa: E402


def ragged(lists):
    """Lists of items as the exchange has them."""
    offsets = np.cumsum([0, *map(len, lists)]).astype(np.int64)
    return exchange.Ragged(offsets, np.array([i for one in lists for i in one], dtype=np.int32))


def drawn(rng, n, most, n_items):
    return [rng.choice(n_items, rng.integers(1, most), replace=False) for _ in range(n)]


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("within", [False, True], ids=["all unseen", "shown"])
def test_a_peer_chooses_by_the_number_that_it_is_measured_by(seed, within):
    rng = np.random.default_rng(seed)
    n, n_items = 30, 25
    history, targets = drawn(rng, n, 9, n_items), drawn(rng, n, 5, n_items)
    # What was chosen in an impression was shown.
    both = [np.union1d(one, mine) for one, mine in zip(drawn(rng, n, 20, n_items), targets, strict=True)]
    shown = ragged(both) if within else None
    asked = exchange.Asked(np.arange(n, dtype=np.int32), ragged(history), ragged(targets), shown)
    scores = rng.integers(0, 6, (n, n_items)).astype(np.float32)
    scores[rng.random(scores.shape) < 0.1] = -np.inf
    allowed = ~ragged(history).mask(n_items) if shown is None else shown.mask(n_items)
    found = ranks(scores, allowed, targets)
    empty = np.zeros((n_items, 1), dtype=np.float32)
    ranking = Ranking(found, allowed.sum(1).astype(np.int32), np.zeros((n, 10), np.int32), empty[:, 0], empty)
    expected = Slot("metrics").build("ndcg@10").measure(ranking)["ndcg@10"].mean()
    assert exchange.ndcg(lambda block: scores[block.user], asked, n_items) == pytest.approx(expected)


def test_a_task_is_read_as_it_was_written(tmp_path):
    asked = exchange.Asked(np.array([1, 0], dtype=np.int32), ragged([[0], [2, 1]]), ragged([[1], [0]]), None)
    shown = exchange.Asked(asked.user, asked.history, asked.targets, ragged([[1, 2], [0]]))
    rows = (np.array([0, 0, 1], dtype=np.int32), np.array([2, 1, 0], dtype=np.int32))
    task = exchange.Task(2, 3, rows, rows, ragged([[0], [], [1, 0]]), 2, {"valid": asked, "test": shown})
    task.save(tmp_path / "task.npz")
    read = exchange.Task.load(tmp_path / "task.npz")
    assert (read.n_users, read.n_items, read.n_words) == (2, 3, 2)
    np.testing.assert_array_equal(read.train, rows)
    np.testing.assert_array_equal(read.words.items, [0, 1, 0])
    assert read.asked["valid"].shown is None
    np.testing.assert_array_equal(read.asked["test"].shown.mask(3), [[False, True, True], [True, False, False]])


def test_histories_are_cut_to_their_latest_known_items():
    lists = ragged([[0, 1, 2, 3], [2], [], [1]])
    numbers = np.array([5, -1, 6, 7])
    np.testing.assert_array_equal(lists.padded(2, left=True, numbers=numbers), [[6, 7], [0, 6], [0, 0], [0, 0]])
    np.testing.assert_array_equal(lists.padded(3, left=False, numbers=numbers)[:2], [[5, 6, 7], [6, 0, 0]])


class Counted:
    """The next item by how often it followed; after its third epoch it forgets, so that stopping in time is seen."""

    made: list

    def __init__(self, task, rows, settings, seed):
        self.task, self.rows, self.way, self.epochs = task, rows, settings["way"], 0
        self.made.append(self)

    def epoch(self):
        self.epochs += 1

    def score(self, asked):
        user, item = self.rows
        follows = np.zeros((self.task.n_items, self.task.n_items), dtype=np.float32)
        same = user[1:] == user[:-1]
        np.add.at(follows, (item[:-1][same], item[1:][same]), 1)
        last = asked.history.items[asked.history.offsets[1:] - 1]
        known = min(self.epochs, 6 - self.epochs) / 3
        noise = np.random.default_rng(self.epochs).random((len(asked), self.task.n_items))
        return (self.way * known * follows[last] + noise * follows.max()).astype(np.float32)


def walk(tmp_path):
    """The circle, prepared: a run whose next item is certain."""
    from genre.run import Run

    run = Run.create(finished().config, tmp_path)
    dataset(circle(n_users=40)).save(run.path("data"))
    return Offer.of(run)


def next_in_circle(offer):
    """The row of the item that comes after each."""
    names = offer.data.items["item_id"].to_pylist()
    place = {name: row for row, name in enumerate(names)}
    return np.array([place[f"i{(int(name[1:]) + 1) % len(names)}"] for name in names])


def test_settings_and_epochs_are_chosen_on_validation_and_the_rest_is_trained_on(tmp_path):
    offer = walk(tmp_path)
    task = offer.task()
    Counted.made = []
    peer = exchange.Peer(Counted, [{"way": -1}, {"way": 1}, {"way": 1}])
    final, found = exchange.search(peer, task, n_trials=2, cap=1e-9, seed=0)
    assert [trial["settings"]["way"] for trial in found["trials"]] == [-1, 1], "the third is one too many"
    assert found["settings"] == {"way": 1}
    assert found["epochs"] == Counted.made[1].epochs == final.epochs
    assert len(final.rows[0]) == len(task.train[0]) + len(task.valid[0]), "trained again on training and validation"
    assert (np.diff(final.rows[0]) >= 0).all(), "by user"
    follows = next_in_circle(offer)[final.rows[1]][:-1] == final.rows[1][1:]
    assert follows[final.rows[0][:-1] == final.rows[0][1:]].all(), "and in order of time"


def test_a_training_ends_when_validation_no_longer_rises(tmp_path):
    task = walk(tmp_path).task()
    Counted.made = []
    course = exchange.Course(Counted(task, task.train, {"way": 1}, 0), {})
    course.go_on(60, 0.0, lambda model: exchange.ndcg(model.score, task.asked["valid"], task.n_items))
    assert course.ended == "validation stopped rising"
    assert (course.best_epoch, course.epochs) == (3, 3 + exchange.PATIENCE)


def test_a_peer_is_given_what_the_sources_are_given(tmp_path):
    offer = walk(tmp_path)
    task = offer.task()
    assert len(task.train[0]) == (offer.log.part == 0).sum()
    np.testing.assert_array_equal(task.asked["test"].user, offer.cases.user)
    for i in range(len(offer.cases)):
        history = task.asked["test"].history.take(i, i + 1).items
        np.testing.assert_array_equal(history, offer.cases.histories.take(slice(i, i + 1)).item)
    words = [task.words.take(i, i + 1).items for i in range(task.n_items)]
    assert task.n_words == 0, "each word of the circle is of one item alone"
    assert not any(len(one) for one in words)


def test_scores_of_a_peer_are_ranked_as_ours_are(tmp_path):
    offer = walk(tmp_path)
    histories = offer.cases.histories
    last = histories.item[histories.offsets[1:] - 1]
    right = np.zeros((len(offer.cases), offer.log.n_items), dtype=np.float32)
    right[np.arange(len(right)), next_in_circle(offer)[last]] = 1
    assert offer.measured(right)["ndcg@10"].min() == 1
    flat = offer.measured(np.zeros_like(right))
    assert flat["ndcg@5"].max() == 0, "ties are against the system"


@pytest.mark.parametrize("name", quality.SETS)
def test_every_part_of_a_set_can_be_switched_off(name):
    one = quality.SETS[name]
    file = BENCHMARKS.parent / "configs" / f"{one.config}.yaml"
    config = load(file, one.changes)
    parts = {**quality.parts_of(config), **one.parts}
    for overrides in parts.values():
        assert load(file, [*one.changes, *overrides]) != config
    if config.model.text:
        assert not load(file, [*one.changes, *parts["no language model"]]).model.text


def test_a_part_that_asks_of_other_people_is_compared_on_those_that_both_ask(tmp_path):
    bench = quality.Quality("beauty", 1, tmp_path, Budget(6, 30, 1))
    first = bench._units(finished(), "genre")
    n = len(bench.asked)
    assert not np.isnan(first["ndcg@10"]).any()
    bench.asked = {("nobody", -1): 0, **{case: n - row for case, row in bench.asked.items() if row}}
    units = bench._units(finished(), "genre")
    assert np.isnan(units["ndcg@10"][0])
    np.testing.assert_array_equal(units["ndcg@10"][1:], first["ndcg@10"][:0:-1])
    assert bench._units(finished(), "nobody's system") == {}


def test_results_say_who_is_better_and_by_how_much(tmp_path):
    rng = np.random.default_rng(0)
    bench = quality.Quality("beauty", 2, tmp_path, Budget(6, 30, 1))
    bench.offer = walk(tmp_path)
    bench.evaluated = json.loads((finished().path("evaluate") / "metrics.json").read_text(encoding="utf-8"))
    n = len(bench.offer.cases)

    def units(level):
        values = np.clip(level + 0.01 * rng.random(n), 0, 1)
        return {"ndcg@10": values, "recall@10": values}

    bench.systems = [
        quality.System("genre", "ours", [units(0.5), units(0.7)], {"seeds": [7, 8]}),
        quality.System("no model", "part", [units(0.3)]),
        quality.System("popular", "source", [units(0.1)]),
        quality.System("recbole SASRec", "peer", [units(0.4)]),
    ]
    bench.missing = {"rectools SASRec": "no network"}
    result = bench.result()
    rows = {row["name"]: row for row in result["systems"]}
    assert result["best_rival"]["ndcg@10"] == "recbole SASRec"
    assert rows["recbole SASRec"]["ours_less_this"]["ndcg@10"]["difference"] == pytest.approx(0.2, abs=0.01)
    assert rows["recbole SASRec"]["ours_less_this"]["ndcg@10"]["relative"] == pytest.approx(0.5, abs=0.05)
    assert rows["recbole SASRec"]["ours_less_this"]["ndcg@10"]["verdict"] == "better"
    assert rows["no model"]["ours_less_this"]["ndcg@10"]["difference"] == pytest.approx(0.2, abs=0.01), (
        "at its own seed"
    )
    (tmp_path / "quality-beauty.json").write_text(json.dumps(result), encoding="utf-8")
    text = tables.write_tables(tmp_path)["beauty"]
    assert "recbole SASRec (best rival)" in text
    assert "not measured: rectools SASRec: no network" in text
    assert text in (tmp_path / "quality.md").read_text(encoding="utf-8")
    tables.draw(result, tmp_path / "quality-beauty.svg")
    assert "recbole SASRec" in (tmp_path / "quality-beauty.svg").read_text(encoding="utf-8")


def test_peers_are_named_as_a_whole_or_one_by_one():
    assert quality.chosen_peers(["recbole:BPR", "rectools"]) == [
        ("recbole", "BPR"), ("rectools", "SASRec"), ("rectools", "LightFM"),
    ]  # fmt: skip
    with pytest.raises(SystemExit, match="no peer 'recbole:Nobody'; there are recbole, rectools, recbole:SASRec"):
        quality.chosen_peers(["recbole:Nobody"])


@pytest.mark.parametrize("library", environment.LIBRARIES)
def test_what_a_library_needs_is_pinned(library):
    lines = (BENCHMARKS / "peers" / f"requirements-{library}.txt").read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if not line.startswith("#")]
    assert pins
    assert all("==" in line for line in pins)
    assert environment.program(library).exists()


def test_an_environment_that_cannot_be_made_says_why(tmp_path, monkeypatch):
    monkeypatch.setenv("GENRE_PEERS", str(tmp_path / "file" / "inside"))
    (tmp_path / "file").write_text("not a folder", encoding="utf-8")
    with pytest.raises(environment.Unavailable, match=r"recbole: .*venv"):
        environment.python_of("recbole")
