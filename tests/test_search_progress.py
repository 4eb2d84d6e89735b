"""How far a search is, as others read it: from its file, over HTTP, in the console."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import pyarrow.csv as pc
import pytest

from genre.configfile import read_space
from genre.run import Run
from genre.search.loop import Search
from genre.search.snapshot import NAME, snapshots
from served import a_run, asking, service
from simulated import Shape, SimulatedWorkers
from test_search_timeleft import SPACE
from toyworld import circle

STOPS = 5
"""Trials after which the driver is gone."""


class Gone(Exception):
    """The driver ends."""


def a_search(folder: Path, monkeypatch: pytest.MonkeyPatch, *settings: str, stops: int | None = None) -> Path:
    """The run of a search of two workers on a simulated clock, one trial in five failing; what it says of itself."""
    monkeypatch.chdir(folder)
    monkeypatch.setenv("GENRE_CACHE", str(folder / "cache"))
    reading = circle(n_users=30)
    pc.write_csv(reading.interactions.drop_columns(["file", "line"]), folder / "interactions.csv")
    assert reading.items is not None
    pc.write_csv(reading.items, folder / "items.csv")
    (folder / "c.yaml").write_text(SPACE, encoding="utf-8")
    found = read_space("c.yaml", ["search.workers=2", "train.warmup_epochs=3", "train.epochs=2", *settings])
    crew = SimulatedWorkers(2, Shape(failing=0.2), np.random.default_rng(3))

    def say(text: str) -> None:
        if stops is not None and text.startswith(f"trial {stops}:"):
            raise Gone

    made = Search(found.config, Run.create(found.config, folder), found.space, crew, say, clock=crew.clock)
    if stops is None:
        made.run_trials()
    else:
        with pytest.raises(Gone):
            made.run_trials()
    return folder / found.config.name / "search" / NAME


def test_what_is_said_is_what_the_trials_came_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = a_search(tmp_path, monkeypatch)
    (found,) = snapshots(tmp_path)
    assert (found["run"], found["alive"], found["doing"]) == ("toy", True, "trials")
    assert found["done"] + found["pruned"] + found["failed"] == found["budget"] == 14
    assert found["failed"] >= 1
    assert found["left"] == found["running"] == 0
    assert found["seconds_left"] > 0, "the leaders are still to be trained again"
    way = [value for _, value in found["best_so_far"]]
    assert way == sorted(way)
    assert len(way) == found["done"]
    assert way[-1] == found["best"]["values"]["ndcg@10"]
    assert set(found["best"]["chosen"]) == {"model.dropout", "train.lr.backbone"}
    path.write_text(json.dumps(json.loads(path.read_text()) | {"doing": "ended"}))
    assert snapshots(tmp_path)[0]["alive"] is False


def test_a_search_that_is_stopped_is_told_from_one_that_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = a_search(tmp_path, monkeypatch, stops=STOPS)
    (found,) = snapshots(tmp_path)
    assert 0 < found["done"] + found["pruned"] + found["failed"] < 14
    assert found["left"] == 14 - found["done"] - found["pruned"] - found["failed"]
    assert found["alive"]
    path.write_text(json.dumps(json.loads(path.read_text()) | {"at": time.time() - 3600}))
    assert not snapshots(tmp_path)[0]["alive"]


def test_searches_are_told_over_http(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    home = a_run(tmp_path)
    with service(home) as made, asking(made) as ask:
        assert ask("get", "/v1/searches").json() == {"rows": []}
        a_search(tmp_path, monkeypatch)
        answer = ask("get", "/v1/searches")
        assert answer.status_code == 200
        (row,) = answer.json()["rows"]
        assert row == json.loads(json.dumps(snapshots(tmp_path)[0]))
