"""Executors: workers that make mistakes, are killed or lose their command; training that goes on."""

from __future__ import annotations

import functools
import importlib.util
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow.parquet as pq
import pytest
import torch

from genre import hidden
from genre.errors import GenreError
from genre.evaluate import evaluate
from genre.executors.local import Local
from genre.executors.ray import Ray
from genre.files import write_text
from genre.parallel import Team, joining, team
from genre.rank import rank
from genre.run import Run
from genre.train import Training, train, train_in_team
from toyworld import circle, config, dataset, tiny_backbone

TRAIN = {"warmup_epochs": 2, "epochs": 3, "early_stopping": {"patience": 9}}


def curve(folder: Path) -> list[dict[str, Any]]:
    return pq.read_table(folder / "curves.parquet").to_pylist()


def same(one: list[dict[str, Any]], two: list[dict[str, Any]]) -> bool:
    """Whether two learning curves are one."""
    return len(one) == len(two) and all(
        b[key] == pytest.approx(a[key], abs=1e-4)
        for a, b in zip(one, two, strict=True)
        for key in a
        if key.startswith(("loss/", "valid/"))
    )


def world(folder: Path, **sections: Any) -> tuple[Any, Path]:
    """A configuration and prepared data."""
    data = folder / "data"
    dataset(circle(n_users=40)).save(data)
    return config(tiny_backbone(folder / "bert"), train=TRAIN, **sections), data


def training(folder: Path, conf: Any, data: Path, killed: int | None = None) -> None:
    """Train; the worker ``killed`` is ended by kill -9 in the second epoch of fine-tuning, once."""
    os.environ["GENRE_CACHE"] = str(folder / "cache")
    if team().rank == killed and not (folder / "was killed").exists():
        plain = Training._epoch

        @functools.wraps(plain)
        def epoch(self: Training, progress: Any, *rest: Any) -> Any:
            if progress.phase == "finetune" and progress.epoch == 1:
                write_text(folder / "was killed", "")
                os.kill(os.getpid(), signal.SIGKILL)
            return plain(self, progress, *rest)

        Training._epoch = epoch
    train_in_team(conf, data, folder / "model", "key")


def test_a_killed_worker_is_replaced_and_training_goes_on(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("GENRE_CACHE", str(tmp_path / "cache"))
    conf, data = world(tmp_path)
    train_in_team(conf, data, tmp_path / "whole", "key")
    Local(workers=2).run(training, tmp_path, conf, data, 1)
    said = capfd.readouterr().out
    assert "worker 1 was ended by SIGKILL; starting anew from the last checkpoint (1 of 2)" in said
    assert "finetune: going on after epoch 1" in said
    assert (tmp_path / "was killed").exists()
    assert same(curve(tmp_path / "whole"), curve(tmp_path / "model"))


def failing(how: str) -> None:
    """Work that fails in one worker while the other waits for it."""
    if team().rank == 1:
        if how == "mistake":
            raise GenreError("the label teaches nothing; change it")
        if how == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        raise ValueError("a bug")
    team().wait()


def test_a_mistake_is_told_as_it_is():
    with pytest.raises(GenreError, match=r"^the label teaches nothing; change it$"):
        Local(workers=2).run(failing, "mistake")


@pytest.mark.slow
def test_a_bug_is_told_with_its_place():
    with pytest.raises(RuntimeError, match=r"worker 1 failed(?s:.*)in failing(?s:.*)ValueError: a bug"):
        Local(workers=2).run(failing, "bug")


@pytest.mark.slow
def test_workers_that_keep_being_lost_are_given_up():
    with pytest.raises(GenreError, match=r"SIGKILL; given up after 1 new starts \(executor.retries\)"):
        Local(workers=2, retries=1).run(failing, "killed")


def filling(path: Path) -> None:
    """Work whose leader cannot write all that it wants to."""
    if team().leads:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
        write_text(path, "x" * 1000)
    team().wait()


@pytest.mark.slow
def test_a_full_disk_is_told_and_leaves_what_was_there(tmp_path: Path):
    (tmp_path / "file").write_text("old")
    with pytest.raises(GenreError, match="could not be written"):
        Local(workers=2).run(filling, tmp_path / "file")
    assert [path.read_text() for path in tmp_path.iterdir()] == ["old"]


def sleeping(folder: Path) -> None:
    """Work without an end."""
    write_text(folder / f"{team().rank}", str(os.getpid()))
    time.sleep(600)


@pytest.mark.slow
def test_workers_end_with_a_command_that_is_killed(tmp_path: Path):
    code = "import sys; from pathlib import Path; from genre.executors.local import Local; import test_executors as t\n"
    code += "if __name__ == '__main__': Local(workers=2).run(t.sleeping, Path(sys.argv[1]))"
    script = tmp_path / "command.py"
    script.write_text(code)
    workers = tmp_path / "workers"
    workers.mkdir()
    path = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    command = subprocess.Popen([sys.executable, str(script), str(workers)], env={**os.environ, "PYTHONPATH": path})
    until = time.monotonic() + 120
    while len([p for p in workers.iterdir() if p.name.isdecimal()]) < 2:
        assert time.monotonic() < until
        time.sleep(0.1)
    pids = [int((workers / str(rank)).read_text()) for rank in range(2)]
    command.kill()
    command.wait()
    while any(psutil.pid_exists(pid) and psutil.Process(pid).status() != "zombie" for pid in pids):
        assert time.monotonic() < until
        time.sleep(0.1)


def test_one_worker_is_the_command_itself():
    found: list[int] = []
    Local().run(lambda: found.append(os.getpid()))
    assert found == [os.getpid()]
    assert Local().here
    assert not Local(workers=2).here
    assert not Local(gpus_per_worker=1).here


@pytest.mark.skipif(torch.cuda.device_count() > 1, reason="there are two accelerators")
def test_too_few_accelerators_are_told_before_anything_starts():
    with pytest.raises(GenreError, match=r"2 workers want an accelerator each, and this machine has \d+; set"):
        Local(workers=2, gpus_per_worker=1).run(failing, "bug")


def staged(folder: Path, conf: Any, cached: Path) -> None:
    """What two workers do of a stage, seen from inside."""
    os.environ["GENRE_CACHE"] = str(cached)
    evaluate_parts(folder, conf)


def evaluate_parts(folder: Path, conf: Any) -> None:
    """Evaluate as a worker does."""
    from genre.evaluate import evaluate_in_team

    evaluate_in_team(conf, folder, folder / f"evaluate{team().size}")


@pytest.mark.slow
def test_evaluation_by_two_workers_is_that_of_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    import json

    monkeypatch.setenv("GENRE_CACHE", str(tmp_path / "cache"))
    evaluation = {"bootstrap": 50, "baselines": ["popular", "ease"], "examples": 1}
    pipeline = {"sources": ["model", "transitions", "popular"]}
    conf, _ = world(tmp_path, name="run", pipeline=pipeline, evaluate=evaluation)
    run = Run.create(conf, tmp_path)
    (tmp_path / "data").rename(run.path("data"))
    for stage in (train, rank, evaluate):
        stage(conf, run)
    Local(workers=2).run(staged, run.folder, conf, tmp_path / "other cache")
    one, two = (json.loads((run.folder / name / "metrics.json").read_text()) for name in ("evaluate", "evaluate2"))
    for key in ("contract", "systems", "comparisons", "gate", "slices", "tasks"):
        assert one[key] == two[key], key
    curves = [[{**row, "seconds": 0} for row in one["shot_curve"].get("rows", [])] for one in (one, two)]
    assert curves[0] == curves[1]


def test_workers_keep_a_part_of_the_states_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Each computes what is missing and its own; who comes later finds all."""
    loaded_from = tiny_backbone(tmp_path / "bert")
    from genre.textencoder import load

    conf = config(loaded_from)
    loaded = load(conf.model.backbone)
    tokens = [[2, 4 + i, 3] for i in range(7)]
    whole = hidden.PassingStates.of(loaded, tokens, (1,))
    computed: list[int] = []
    plain = hidden._compute

    def compute(loaded: Any, missing: dict[bytes, Any], *rest: Any) -> None:
        computed.append(len(missing))
        plain(loaded, missing, *rest)

    monkeypatch.setattr(hidden, "_compute", compute)
    monkeypatch.setattr(Team, "total", lambda self, values: values)
    monkeypatch.setattr(Team, "wait", lambda self: None)
    monkeypatch.setenv("GENRE_CACHE", str(tmp_path / "cache"))
    with joining(Team(rank=1, size=2, local_size=2)):
        found = hidden.hidden_states(loaded, tokens, (1,))
    # The other worker is not there: its part is computed in the end by whoever misses it.
    assert computed == [3, 4]
    rows = np.arange(7)
    np.testing.assert_allclose(found.batch(rows)[0].numpy(), whole.batch(rows)[0].numpy(), atol=0.05)


needs_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="ray is not installed (extra ray)")


@needs_ray
@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_ray_trains_as_one_process_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("GENRE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    conf, data = world(tmp_path)
    train_in_team(conf, data, tmp_path / "whole", "key")
    Ray(workers=2).run(training, tmp_path, conf, data, 1)
    assert (tmp_path / "was killed").exists()
    assert same(curve(tmp_path / "whole"), curve(tmp_path / "model"))


@pytest.mark.skipif(importlib.util.find_spec("ray") is not None, reason="ray is installed")
def test_ray_that_is_not_there_is_told(tmp_path: Path):
    with pytest.raises(GenreError, match=r"pip install 'genre-recommender\[ray\]'"):
        Ray(workers=2).run(training, tmp_path)
