"""The time that a search still takes, as said after three trials, beside what it then takes on a simulated clock."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.csv as pc
import pytest

from genre.component import Slot, names
from genre.configfile import read_space
from genre.run import Run
from genre.search.loop import Search
from genre.search.timeleft import makespan, measuring_seconds
from simulated import Shape, SimulatedWorkers, after_trials
from toyworld import circle

SPACE = """\
name: toy
data: {reader: {type: table, interactions: interactions.csv, items: items.csv}}
model: {dropout: {search: [0.0, 0.8], default: 0.6, scale: linear}}
train: {lr: {backbone: {search: [1e-5, 1e-1], scale: log, default: 1e-2}}, early_stopping: {metric: ndcg@10}}
search: {searcher: random, trials: 14}
"""
TESTED = 30.0
"""Seconds that a run takes to be measured on test."""
FACTOR = 1.5


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A working directory with a log."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GENRE_CACHE", str(tmp_path / "cache"))
    reading = circle(n_users=30)
    pc.write_csv(reading.interactions.drop_columns(["file", "line"]), tmp_path / "interactions.csv")
    assert reading.items is not None
    pc.write_csv(reading.items, tmp_path / "items.csv")
    (tmp_path / "c.yaml").write_text(SPACE, encoding="utf-8")


def said_and_true(workers: int, pruner: str, seed: int, shape: Shape) -> tuple[float, float]:
    """What is said when three trials have ended, and the seconds that all then takes, repeats and test included."""
    chosen = [f"name=s{seed}", f"search.workers={workers}", f"search.pruner={pruner}", f"seed={seed}"]
    found = read_space("c.yaml", [*chosen, "train.warmup_epochs=3", "train.epochs=2"])
    crew = SimulatedWorkers(workers, shape, np.random.default_rng(seed))
    said: list[tuple[float, float | None]] = []

    def show(standing: object) -> None:
        ended = sum(one.state.is_finished() for one in standing.trials)  # type: ignore[attr-defined]
        if ended >= 3 and not said:
            said.append((crew.now, standing.seconds_left))  # type: ignore[attr-defined]

    made = Search(found.config, Run.create(found.config), found.space, crew, lambda text: None, show, clock=crew.clock)
    made.tested = TESTED
    trials = made.run_trials().all()
    (at, left), *_ = said
    assert left is not None
    section = found.config.search
    again, finals = after_trials(trials, section.leaders, section.repeats, shape, TESTED)
    return left, crew.now - at + makespan([], again, workers) + makespan([], finals, workers)


WORLDS = [
    (1, "none", Shape()),
    (4, "none", Shape()),
    (2, "median", Shape()),
    (2, "hyperband", Shape(spread=0.2)),
    (2, "none", Shape(shared=True)),
    (1, "none", Shape(failing=0.15)),
]


@pytest.mark.parametrize(("workers", "pruner", "shape"), WORLDS)
def test_after_three_trials_it_is_right_within_a_factor(workers: int, pruner: str, shape: Shape):
    """Trials of unlike length, stopped, failed, of a shared training; several at a time; and what comes after them."""
    ratios = [left / true for left, true in (said_and_true(workers, pruner, seed, shape) for seed in (1, 2))]
    assert all(1 / FACTOR <= one <= FACTOR for one in ratios), ratios


def test_a_search_that_is_taken_up_again_does_not_count_the_night_between():
    """Seconds of a trial are those of its work, whatever the calendar says."""
    found = read_space("c.yaml", ["search.trials=3", "search.pruner=none"])
    crew = SimulatedWorkers(1, Shape(spread=0.0), np.random.default_rng(0))
    Search(found.config, Run.create(found.config), found.space, crew, lambda text: None, clock=crew.clock).run_trials()
    later = read_space("c.yaml", ["search.trials=6", "search.pruner=none"])
    crew = SimulatedWorkers(1, Shape(spread=0.0), np.random.default_rng(0), now=40_000.0)
    made = Search(later.config, Run.create(later.config), later.space, crew, lambda text: None, clock=crew.clock)
    trials = made.run_trials().all()
    assert [one.user_attrs["result"]["took"] for one in trials] == [pytest.approx(110.0)] * 6


@pytest.mark.parametrize("name", names("pruners"))
def test_what_a_pruner_leaves_is_a_share(name: str):
    pruner = Slot("pruners").build(name)
    shares = [pruner.share(epochs) for epochs in (1, 2, 5, 10, 40)]
    assert shares[0] == 1.0
    assert all(0 < one <= 1 for one in shares)
    assert shares == sorted(shares, reverse=True)
    assert (shares[-1] < 0.3) == (name != "none")


def test_halving_trains_what_its_rungs_say():
    """Of nine trials all do one epoch, three go on to three, one to nine: 9 + 3 * 2 + 1 * 6 of 81."""
    assert Slot("pruners").build("halving").share(9) == pytest.approx(21 / 81)


@pytest.mark.parametrize(
    ("running", "more", "workers", "expected"),
    [([], [], 2, 0.0), ([], [3.0, 3.0, 3.0], 2, 6.0), ([5.0, 1.0], [3.0], 2, 5.0), ([2.0], [2.0, 2.0], 3, 2.0)],
)
def test_work_is_laid_out_on_whoever_is_free(running: list[float], more: list[float], workers: int, expected: float):
    assert makespan(running, more, workers) == expected


def test_what_measuring_takes_is_learned_from_the_baselines():
    trials = [{"seconds": 2.0}, {"seconds": 4.0}]
    assert measuring_seconds({"popular": trials}) == 3.0
    assert measuring_seconds({"ease": trials}) > 3.0
    assert measuring_seconds({}) == 0.0
