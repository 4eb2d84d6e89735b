"""benchmarks/search.py: each setting is trained once, searches are the real ones, and verdicts are what numbers say."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.csv as pc
import pytest

from genre.configfile import read_space
from toyworld import circle, tiny_backbone

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

import search  # noqa: E402
from searchbench.bench import Bench  # noqa: E402
from searchbench.table import POINTS, nearest, on_lattice  # noqa: E402

SPACE = """\
name: toy
data: {reader: {type: table, interactions: interactions.csv, items: items.csv}, seed: 7}
model: {dropout: {search: [0.0, 0.8], step: 0.2}}
train: {lr: {backbone: {search: [1e-5, 1e-1], scale: log}}, early_stopping: {metric: ndcg@10}}
"""
REAL = """\
name: toy
data: {reader: {type: table, interactions: interactions.csv, items: items.csv}, seed: 7}
model: {backbone: BACKBONE, adapter: frozen, dim: 8, max_history: 8, heads: {next: next_item}}
train: {warmup_epochs: 3, batch_size: 32, lr: {rest: {search: [1e-3, 1e-1], scale: log}}}
"""


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a log."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GENRE_CACHE", str(tmp_path / "cache"))
    reading = circle(n_users=30)
    pc.write_csv(reading.interactions.drop_columns(["file", "line"]), tmp_path / "interactions.csv")
    assert reading.items is not None
    pc.write_csv(reading.items, tmp_path / "items.csv")
    Path("toy.yaml").write_text(SPACE, encoding="utf-8")
    return tmp_path


def bench(call: str = "searchworld:watched", trials: int = 12) -> Bench:
    """The toy space; `searchworld` knows what its settings come to."""
    return Bench.of(Path("toy.yaml"), [], Path("runs"), trials, call)


def counted(one: Bench) -> list[dict[str, Any]]:
    """What is trained from now on."""
    train, done = one.table.train, []

    def noted(values: dict[str, Any], *rest: Any) -> dict[str, Any]:
        done.append(values)
        return train(values, *rest)

    one.table.train = noted
    return done


def test_a_setting_is_trained_once_whoever_asks_for_it():
    one = bench()
    trained = counted(one)
    first = one.search("random", "none", 1)
    n = len(trained)
    assert 1 < n <= 12
    assert n == len({json.dumps(values, sort_keys=True) for values in trained})
    assert one.once("random", "none", 1, 12, one.table)["values"] == first["values"]
    assert len(trained) == n, "the same search again trains nothing"
    pruned = one.search("random", "median", 1)
    assert len(trained) == n, "nor does one that stops some of its trials"
    assert pruned["chosen"] == first["chosen"]
    assert one.search("random", "none", 2)["chosen"] != first["chosen"]
    seeds = {values["seed"] for values in trained}
    assert len(seeds) == 1, "the seed of a search is not that of a training"


def test_what_is_stopped_is_paid_for_as_far_as_it_went():
    one = bench()
    whole, pruned = one.search("random", "none", 1), one.search("random", "median", 1)
    assert whole["states"] == ["complete"] * 12
    assert whole["epochs_trained"] == 120
    stopped = pruned["states"].count("pruned")
    assert stopped > 0
    assert 120 - 10 * stopped < pruned["epochs_trained"] < 120
    assert [a for a, state in zip(whole["values"], pruned["states"], strict=True) if state == "complete"] == [
        value for value in pruned["values"] if value is not None
    ]


def test_what_was_trained_is_kept_and_half_a_line_is_not():
    one = bench()
    found = one.search("random", "none", 1)
    lines = one.table.file.read_text(encoding="utf-8").splitlines(keepends=True)
    one.table.file.write_text("".join(lines[:-1]) + lines[-1][:50], encoding="utf-8")
    again = bench()
    trained = counted(again)
    assert again.once("random", "none", 1, 12, again.table)["values"] == found["values"]
    assert len(trained) == 1
    assert again.search("random", "none", 1) == found, "as it was kept"
    assert bench(trials=5).search("random", "none", 1)["values"] == found["values"][:5], "another search"


def test_a_number_stands_for_the_nearest_of_a_few_on_its_scale():
    space = bench().found.space
    interval = space.named["train.lr.backbone"]
    assert nearest(interval, 2e-5, points=5) == pytest.approx(1e-5)
    assert nearest(interval, 4e-5, points=5) == pytest.approx(1e-4), "nearer on a log scale alone"
    values = {"model": {"dropout": 0.6}, "train": {"lr": {"backbone": 4e-5, "rest": 2e-3}}}
    moved = on_lattice(values, space, points=5)
    assert moved["train"]["lr"] == {"backbone": pytest.approx(1e-4), "rest": 2e-3}
    assert moved["model"] == values["model"]
    assert values["train"]["lr"]["backbone"] == 4e-5, "what is given stays as it was"


def test_a_training_that_fails_is_a_trial_that_failed():
    one = bench("searchworld:troubled", 2)
    one.table.train = lambda *given: 1 / 0
    found = one.search("random", "none", 1)
    assert found["states"] == ["fail", "fail"]
    assert found["best"] == [None, None]
    assert {row["kind"] for row in one.table.rows.values()} == {"failed"}


def runs(ends: list[float], larger: bool, epochs: int = 100) -> list[dict[str, Any]]:
    return [{"best": [0.0, end], "larger": larger, "epochs_trained": epochs} for end in ends]


def test_better_is_said_only_where_the_interval_excludes_no_difference():
    chance = [0.50, 0.52, 0.48, 0.51]
    up = [0.60, 0.61, 0.59, 0.62]
    found = search.against(runs(up, True), runs(chance, True))
    assert found["best"]["verdict"] == "better"
    assert found["best"]["difference"] == pytest.approx(np.mean(up) - np.mean(chance))
    assert found["anytime"]["difference"] == pytest.approx((np.mean(up) - np.mean(chance)) / 2)
    assert search.against(runs(up, False), runs(chance, False))["best"]["verdict"] == "worse", "small is good"
    mixed = search.against(runs([0.9, 0.1, 0.5, 0.52], True), runs(chance, True))
    assert mixed["best"]["verdict"] == "no difference"
    half = search.against(runs(chance, True, 40), runs(chance, True, 80))
    assert half["epochs"]["mean"] == 0.5
    assert half["best"] == {"difference": 0, "ci95": [0, 0], "verdict": "no difference"}


def test_the_whole_benchmark_says_what_the_winners_come_to_on_the_test_part(place: Path, capsys):
    backbone = json.dumps(tiny_backbone(place / "backbone"))
    Path("toy.yaml").write_text(REAL.replace("BACKBONE", backbone), encoding="utf-8")
    search.main(["toy.yaml", "--quick", "--root", "runs", "--out", "out.json"])
    found = json.loads(Path("out.json").read_text(encoding="utf-8"))
    assert set(found["searches"]) == {"random, none", "tpe, none", "random, median", "tpe, median"}
    assert found["settings"] == 7
    assert 1 <= found["trained"] <= 7
    assert found["compared"]["tpe, none"]["beside"] == "random, none"
    assert found["compared"]["tpe, median"]["beside"] == "tpe, none"
    assert set(found["test"]) == {"random, none", "tpe, none", "defaults"}
    assert all(0 <= value <= 1 for values in found["test"].values() for value in values)
    assert len(found["luck"]["defaults"]) == 4
    withheld = place / "runs" / "toy" / "data" / "search" / "data" / "manifest.json"
    assert withheld.exists(), "trials see the data without its test part"
    assert Path("out.svg").read_text(encoding="utf-8").count("<svg") == 1
    assert "tpe, none" in capsys.readouterr().out


def test_the_spaces_in_the_folder_can_be_searched_and_are_small():
    for file in sorted((BENCHMARKS / "search").glob("*.yaml")):
        space = read_space(file).space
        assert 100 < len(list(space.grid(POINTS))) < 1500, file.name
