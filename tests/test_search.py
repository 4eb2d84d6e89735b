"""Searches: every searcher, what is kept through kills and failures, pruning, and that the test part is read once."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pyarrow.csv as pc
import pyarrow.parquet as pq
import pytest
import yaml
from click.testing import CliRunner

import databases
from genre.component import Slot, names
from genre.configfile import load, read_space
from genre.errors import GenreError
from genre.run import Run
from genre.search.crew import LocalWorkers
from genre.search.loop import Search
from genre.search.study import JOURNAL, Trials, mend_journal
from genre.searchers import SpaceFacts
from toyworld import circle, tiny_backbone

SPACE = """\
name: toy
data: {reader: {type: table, interactions: interactions.csv, items: items.csv}}
model:
  dropout: {search: [0.0, 0.8], default: 0.6, scale: linear}
MORE
train: {lr: {backbone: {search: [1e-5, 1e-1], scale: log, default: 1e-2}}, early_stopping: {metric: ndcg@10}}
"""
CHOICES = "  adapter: {search: [lora, {type: top_layers, layers: {search: [1, 2]}}]}"
FIRST = 1 - 1 - 2 * 0.4
"""What the defaults come to in `searchworld`."""


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a log."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GENRE_CACHE", str(tmp_path / "cache"))
    reading = circle(n_users=30)
    pc.write_csv(reading.interactions.drop_columns(["file", "line"]), tmp_path / "interactions.csv")
    assert reading.items is not None
    pc.write_csv(reading.items, tmp_path / "items.csv")
    return tmp_path


def searched(call: str, *overrides: str, more: str = "", say: Any = lambda text: None) -> Trials:
    """The trials of a search whose trials are those of `searchworld`."""
    Path("c.yaml").write_text(SPACE.replace("MORE", more), encoding="utf-8")
    found = read_space("c.yaml", overrides)
    workers = LocalWorkers(found.config.search.workers)
    try:
        return Search(
            found.config, Run.create(found.config), found.space, workers, say, call=f"searchworld:{call}"
        ).run_trials()
    finally:
        workers.close()


def states(trials: Trials) -> list[str]:
    return [one.state.name for one in trials.all()]


@pytest.mark.parametrize("name", names("searchers"))
def test_searcher(name: str):
    """Begins with the defaults, keeps to the space and the budget, goes on where it was, and does not repeat itself."""
    facts = SpaceFacts(3, 1, 1, 1)
    more = CHOICES if Slot("searchers").build(name).unfit(facts) is None else ""
    few = [f"search.searcher={name}", "search.trials=7", "search.pruner=none"]
    trials = searched("known", *few, more=more)
    first = trials.all()
    assert states(trials) == ["COMPLETE"] * 7
    assert first[0].values[0] == pytest.approx(FIRST)
    assert first[0].params["train.lr.backbone"] == 1e-2
    for one in first:
        assert 1e-5 <= one.params["train.lr.backbone"] <= 1e-1
        assert 0 <= one.params["model.dropout"] <= 0.8
        assert ("model.adapter(top_layers).layers" in one.params) == (one.params.get("model.adapter") == "top_layers")
    trials = searched("known", *few, "search.trials=12", more=more)
    assert states(trials) == ["COMPLETE"] * 12
    assert [one.params for one in trials.all()[:7]] == [one.params for one in first]
    # A mutation may undo another.
    assert len({str(sorted(one.params.items())) for one in trials.all()}) >= (10 if name == "genetic" else 12)
    assert max(one.values[0] for one in trials.all()) > FIRST


@pytest.mark.parametrize("name", ["tpe", "gp", "cmaes"])
def test_searchers_that_learn_come_nearer_than_chance(name: str):
    best = {}
    for one in (name, "random"):
        trials = searched("known", f"name={one}", f"search.searcher={one}", "search.trials=30", "search.pruner=none")
        best[one] = max(frozen.values[0] for frozen in trials.all())
    assert best[name] > best["random"]


def test_several_objectives_give_a_front():
    from genre.search.outcomes import pareto

    objectives = "search.objectives=[ndcg@10, train_seconds]"
    trials = searched("known", "search.searcher=genetic", objectives, "search.trials=14")
    front = pareto(trials.all(), [True, False])
    assert front == sorted(one.number for one in trials.study.best_trials)


@pytest.mark.parametrize("name", names("pruners"))
def test_pruner(name: str):
    """What is stopped has stopped, and its steps are counted; the best trial is not among it."""
    trials = searched("watched", f"search.pruner={name}", "search.trials=14", "search.searcher=random")
    ended = trials.all()
    for one in ended:
        epochs = len((Path("runs/toy/search/trials") / f"{one.number:04d}" / "epochs").read_text())
        assert epochs == one.user_attrs["result"]["epochs"]
        assert (epochs < 10) == (one.state.name == "PRUNED")
        assert len(one.intermediate_values) == epochs or name == "none"
    stopped = sum(one.state.name == "PRUNED" for one in ended)
    assert stopped == 0 if name == "none" else stopped > 3, [one.state.name for one in ended]


def test_trials_that_fail_are_recorded_with_their_reason_and_are_not_fatal():
    said: list[str] = []
    trials = searched("troubled", "search.trials=8", say=said.append)
    assert states(trials) == ["COMPLETE", "FAIL", "FAIL", "COMPLETE", "FAIL", "FAIL", "COMPLETE", "COMPLETE"]
    reasons = [one.user_attrs.get("reason", "") for one in trials.all()]
    assert "out of memory" in reasons[1]
    assert "SIGKILL" in reasons[2]
    assert "ndcg@10 is not a number" in reasons[4]
    assert "ValueError: an odd thing" in reasons[5]
    assert [one.user_attrs["attempts"] for one in trials.all()] == [1, 1, 2, 2, 1, 1, 1, 1]
    assert "Traceback" in Path("runs/toy/search/trials/0005/log.txt").read_text()
    assert any("minutes left, for 5 more trials and what comes after them" in line for line in said), said


def test_a_trial_that_asks_for_more_memory_than_there_is_is_recorded_and_not_fatal():
    trials = searched("hungry", "search.trials=4")
    assert states(trials) == ["COMPLETE", "FAIL", "FAIL", "COMPLETE"]
    for one in trials.all()[1:3]:
        assert one.user_attrs["reason"].startswith("out of memory; lower train.token_budget"), one.user_attrs
        assert one.user_attrs["attempts"] == 1, "it would run out again"


def test_a_worker_that_is_killed_costs_one_attempt_and_the_other_works_on():
    """From outside, as an operator or the kernel does, while both are at work."""
    killed: list[int] = []

    def kill(text: str) -> None:
        latest = begun()
        if text.startswith("trial") and not killed and latest:
            running = [int(pid) for number, pids in latest.items() for pid in pids if number == max(latest)]
            os.kill(running[-1], signal.SIGKILL)
            killed.append(running[-1])

    trials = searched("slow", "search.trials=8", "search.workers=2", "search.searcher=random", say=kill)
    assert killed
    assert states(trials) == ["COMPLETE"] * 8
    attempts = [one.user_attrs["attempts"] for one in trials.all()]
    assert sorted(attempts) in ([1] * 8, [1] * 7 + [2]), "one is begun again, or none where it had just ended"
    workers = {pid for pids in begun().values() for pid in pids}
    assert len(workers) == 3, "two, and the one in the place of the killed"


def test_a_full_disk_of_the_driver_is_told_as_such(tmp_path: Path):
    """What it keeps of the trials does not fit: a device of its own, as large as the first trials need."""
    device = tmp_path / "small"
    device.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=512k", "none", str(device)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("only root can make a small disk")
    try:
        searched("known", "search.trials=2")
        home = Path("runs/toy/search")
        journal = home / JOURNAL
        (device / JOURNAL).write_bytes(journal.read_bytes())
        journal.unlink()
        journal.symlink_to(device / JOURNAL)
        (device / "ballast").write_bytes(bytes(512 * 1024 - (device / JOURNAL).stat().st_size - 8192))
        with pytest.raises(GenreError, match="the disk is full; free some space, and the same command goes on"):
            searched("known", "search.trials=60")
        (device / "ballast").unlink()
        trials = searched("known", "search.trials=6")
        assert len(trials.all()) >= 6
        assert states(trials)[:2] == ["COMPLETE"] * 2
        assert "RUNNING" not in states(trials)
    finally:
        subprocess.run(["umount", str(device)], check=True)


def test_a_full_disk_stops_the_search_and_the_same_command_goes_on():
    with pytest.raises(GenreError, match="the disk is full; free some space, and the same command goes on"):
        searched("full", "search.trials=5")
    Path("runs/toy/search/freed").touch()
    trials = searched("full", "search.trials=5")
    assert states(trials) == ["COMPLETE"] * 5
    assert [one.number for one in trials.all()] == list(range(5))


DRIVER = "import sys; sys.path[:0] = {path!r}; import test_search; test_search.searched('slow', *sys.argv[1:])"


def begun() -> dict[int, list[str]]:
    """By trial, the processes that began it."""
    files = sorted(Path("runs").glob("*/search/trials/*/begun"))
    return {int(file.parent.name): file.read_text().split() for file in files}


def test_a_search_whose_driver_is_killed_goes_on_and_counts_no_trial_twice():
    settings = ["search.trials=9", "search.workers=2", "search.searcher=random"]
    driver = subprocess.Popen([sys.executable, "-c", DRIVER.format(path=sys.path), *settings])
    until = time.monotonic() + 60
    while len(begun()) < 5 and time.monotonic() < until:
        time.sleep(0.02)
    os.kill(driver.pid, signal.SIGKILL)
    driver.wait()
    before = begun()
    assert 5 <= len(before) < 9
    trials = searched("slow", *settings)
    after = begun()
    assert states(trials) == ["COMPLETE"] * 9
    assert list(after) == list(range(9)), "no trial more, none missing"
    again = [number for number, processes in after.items() if len(processes) > 1]
    assert 1 <= len(again) <= 2, "only what ran is begun again"
    assert all(after[number] == before[number] for number in before if number not in again)
    # One may have been handed out to a worker that was killed before it began.
    twice = [one.number for one in trials.all() if one.user_attrs["attempts"] == 2]
    assert set(again) <= set(twice)
    assert len(twice) <= 2
    for pid in {int(pid) for processes in before.values() for pid in processes}:
        # One that has ended may be there until somebody asks for it.
        assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


@pytest.mark.parametrize("kind", ["sqlite", pytest.param("postgres", marks=pytest.mark.slow)])
def test_two_drivers_share_a_database(kind: str, place: Path):
    url = "sqlite:///trials.db"
    if kind == "postgres":
        url = databases.settings("postgres", place)["url"].replace("postgresql://", "postgresql+psycopg://")
    shared = ["search.trials=16", "search.searcher=random", f"search.storage={url}"]
    other = subprocess.Popen([sys.executable, "-c", DRIVER.format(path=sys.path), *shared])
    until = time.monotonic() + 60
    while not begun() and time.monotonic() < until:
        time.sleep(0.02)
    trials = searched("slow", *shared)
    assert other.wait(60) == 0
    assert 16 <= len(trials.all()) <= 17, "two may begin the last at once"
    assert set(states(trials)) == {"COMPLETE"}
    assert {len(processes) for processes in begun().values()} == {1}
    assert len({processes[0] for processes in begun().values()}) == 2, "both have worked"


def test_a_journal_is_not_shared():
    settings = ["search.trials=8", "search.searcher=random"]
    alone = subprocess.Popen([sys.executable, "-c", DRIVER.format(path=sys.path), *settings])
    until = time.monotonic() + 60
    while not begun() and time.monotonic() < until:
        time.sleep(0.02)
    with pytest.raises(GenreError, match="another process runs this search"):
        searched("slow", *settings)
    alone.kill()
    alone.wait()


def test_workers_work_at_the_same_time():
    trials = searched("slow", "search.trials=6", "search.workers=2")
    spans = [(one.datetime_start, one.datetime_complete) for one in trials.all()]
    assert any(a[0] < b[1] and b[0] < a[1] for a in spans for b in spans if a is not b)  # type: ignore[operator]


def test_a_search_of_another_space_is_not_mixed_with_this():
    searched("known", "search.trials=2")
    with pytest.raises(GenreError, match="holds the trials of another search named 'toy'"):
        searched("known", "search.trials=2", "model.dropout.default=0.5", "train.lr.backbone=1e-3")
    assert len(searched("known", "search.trials=3", "search.workers=2").all()) == 3


def test_half_a_line_and_a_lock_that_a_kill_left_do_not_matter():
    searched("known", "search.trials=3")
    journal = Path("runs/toy/search") / JOURNAL
    whole = journal.read_bytes()
    journal.write_bytes(whole + b'{"op_code": 8, "worker')
    Path(f"{journal}.lock").touch()
    mend_journal(journal)
    assert journal.read_bytes() == whole
    journal.write_bytes(whole + b'{"op_code": 8, "worker')
    assert states(searched("known", "search.trials=4")) == ["COMPLETE"] * 4


def test_minutes_are_a_limit_over_all_starts():
    some = ["search.trials=50", "search.minutes=0.02"]
    n = len(searched("slow", *some).all())
    assert 1 <= n < 20
    assert len(searched("slow", *some).all()) == n
    assert len(searched("slow", *some, "search.minutes=0.04").all()) > n


def test_the_machinery_takes_little_of_a_trial():
    searched("known", "search.trials=2", "search.searcher=random")
    began = time.perf_counter()
    trials = searched("known", "search.trials=42", "search.searcher=random")
    starting = 1.5
    assert len(trials.all()) == 42
    assert (time.perf_counter() - began - starting) / 40 < 0.1, "50 ms on an idle machine, see benchmarks/search.py"


WHOLE = """\
name: toy
data: {reader: {type: table, interactions: interactions.csv, items: items.csv}}
model:
  backbone: BACKBONE
  dim: 16
  max_history: 8
  adapter: {type: lora, layers: 1, r: 2}
  heads: {next: next_item}
train: {warmup_epochs: 4, epochs: 1, batch_size: 16, lr: {rest: {search: [5.0e-3, 1.0e-6, 1.0e+30, 1.0e-2]}}}
pipeline: {sources: [model, popular]}
evaluate: {baselines: [transitions], bootstrap: 50}
search: {searcher: grid, trials: 9, pruner: {type: median, start: 1, warmup: 0}, repeats: 2, leaders: 1}
"""


def test_a_whole_search_reads_the_test_part_once_and_says_what_it_found(place: Path):
    from genre.cli import commands

    backbone = tiny_backbone(place / "backbone")
    Path("c.yaml").write_text(WHOLE.replace("BACKBONE", json.dumps(backbone)), encoding="utf-8")
    done = CliRunner().invoke(commands, ["search", "c.yaml"])
    assert done.exit_code == 0, done.output
    home = place / "runs" / "toy" / "search"
    found = json.loads((home / "search.json").read_text(encoding="utf-8"))
    by_number = {row["number"]: row for row in found["trials"]}
    assert [row["state"] for row in found["trials"]] == ["complete", "pruned", "fail", "complete"]
    assert "no longer finite" in by_number[2]["reason"], "a training that diverges"
    assert by_number[1]["epochs"] < 5
    assert found["saved"] == {"stopped": 1, "epochs_trained": 10.0 + by_number[1]["epochs"], "epochs_saved": 4.0}
    assert set(found["repeats"]) == {"0", "3"}
    assert all(len(one["values"]) == 2 for one in found["repeats"].values())
    assert len(found["baselines"]["transitions"]) == 9, "as many trials as the search may have"
    assert len(found["best_of_n"]["transitions"]) == 9
    # What is learned of the test part: nothing, until the end.
    seen = set(pq.read_table(home / "data" / "interactions.parquet")["part"].to_pylist())
    assert seen == {"train", "valid"}
    assert not list(home.glob("trials/*/evaluate")) + list(home.glob("repeats/*/evaluate"))
    measured = sorted(path.parts[-3] for path in home.glob("*/evaluate/metrics.json"))
    assert measured in (["defaults"], ["defaults", "winner"])
    assert (home / "trials" / "0000" / "data").resolve() == (home / "data").resolve(), "prepared once"
    # A second time nothing is done again.
    times = {path: path.stat().st_mtime_ns for path in home.glob("*/evaluate/metrics.json")}
    assert CliRunner().invoke(commands, ["search", "c.yaml"]).exit_code == 0
    assert {path: path.stat().st_mtime_ns for path in home.glob("*/evaluate/metrics.json")} == times
    assert load(home / "best.yaml").name == "toy-best"
    rates = [row["chosen"]["train.lr.rest"] for row in found["trials"]]
    best = yaml.safe_load((home / "best.yaml").read_text(encoding="utf-8"))
    assert str(best["train"]["lr"]["rest"]) == rates[found["verdict"]["winner"]]
    page = (home / "search.html").read_text(encoding="utf-8")
    assert page.count("<svg") >= 4
    for words in (
        "Best so far",
        "Beside baselines",
        "Each value by itself",
        "stopped early",
        found["verdict"]["sentence"],
    ):
        assert words in page.replace("&#39;", "'")
    assert not math.isnan(found["repeats"]["0"]["mean"])
