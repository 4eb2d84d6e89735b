"""What trackers are told, read back from what they wrote."""

from __future__ import annotations

import io
import json
import math
import struct
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from finished import finished
from genre.component import Slot, names
from genre.run import Run
from genre.taskfigures import pictures_of
from genre.trackers import Result, Tracked
from genre.tracking import tell_result
from genre.train import train
from toyworld import circle, config, dataset, tiny_backbone

PLOTS = {
    "calibration": {"like": {"model": [{"predicted": 0.2, "observed": 0.25, "n": 4}]}},
    "confusion": {"stars": {"model": {"labels": ["1", "2"], "counts": [[3, 1], [0, 4]]}}},
}
EXAMPLE = {"user": "u1", "history": "cup", "genre": "pen; hat"}
RESULT = Result({"genre/ndcg@10": 0.5}, [EXAMPLE], {"curves": Path("c")}, pictures_of(PLOTS))


def settings(name: str, folder: Path) -> dict[str, str]:
    return {"type": name, "uri": str(folder / "mlruns")} if name == "mlflow" else {"type": name}


def started(name: str, folder: Path, done: int = 0):
    tracker = Slot("trackers").build(settings(name, folder))
    return tracker.start(Tracked("toy", folder / "run", {"train": {"epochs": 3}, "name": "toy"}, done))


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    for name in ("WANDB_CACHE_DIR", "WANDB_CONFIG_DIR", "WANDB_DATA_DIR"):
        monkeypatch.setenv(name, str(tmp_path / "wandb"))


def written_by_tensorboard(folder: Path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder / "run" / "model" / "tensorboard"))
    events.Reload()
    # TensorBoard has no @ in its names.
    found = {
        tag.replace("_10", "@10"): [(event.step, event.value) for event in events.Scalars(tag)]
        for tag in events.Tags()["scalars"]
    }
    return found, str([events.Tensors(tag)[-1].tensor_proto.string_val for tag in events.Tags()["tensors"]])


def records(path: Path):
    """The records of a file of W&B: a log as LevelDB keeps it, of blocks of 32 KB after seven bytes of its own."""
    data, at, whole = path.read_bytes(), 7, b""
    while at + 7 <= len(data):
        left = 32768 - at % 32768
        if left < 7:
            at += left
            continue
        length, sort = struct.unpack("<HB", data[at + 4 : at + 7])
        whole += data[at + 7 : at + 7 + length]
        at += 7 + length
        if sort in (1, 4):
            yield whole
            whole = b""


def sessions_of_wandb(folder: Path):
    """The file of each session with its records, once the last says that it has ended: its service writes behind."""
    from wandb.proto import wandb_internal_pb2

    for file in sorted((folder / "run" / "track").glob("wandb/offline-run-*/*.wandb")):
        until = time.monotonic() + 20
        while True:
            found = [wandb_internal_pb2.Record.FromString(data) for data in records(file)]
            if found and found[-1].WhichOneof("record_type") == "exit":
                break
            assert time.monotonic() < until, f"{file} has no end"
            time.sleep(0.02)
        yield file, found


def written_by_wandb(folder: Path):
    curves: dict[str, list[tuple[int, float]]] = {}
    texts = ""
    for _, found in sessions_of_wandb(folder):
        for record in found:
            for item in record.history.item:
                name = item.key or item.nested_key[0]
                if not name.startswith("_") and len(item.nested_key) < 2:
                    curves.setdefault(name, []).append((record.history.step.num, json.loads(item.value_json)))
            for item in (*record.summary.update, *record.run.config.update):
                texts += f"{item.key or '.'.join(item.nested_key)}={item.value_json}\n"
    return curves, texts


def written_by_mlflow(folder: Path):
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=str(folder / "mlruns"))
    (experiment,) = [one for one in client.search_experiments() if one.name == "genre"]
    (run,) = client.search_runs([experiment.experiment_id])
    history = {
        name.replace("_at_", "@"): [(one.step, one.value) for one in client.get_metric_history(run.info.run_id, name)]
        for name in run.data.metrics
    }
    files = "".join(path.read_text() for path in (folder / "mlruns").rglob("examples.json"))
    return history, str(run.data.params) + str(run.data.tags) + files + str(run.data.metrics)


READ = {"tensorboard": written_by_tensorboard, "wandb": written_by_wandb, "mlflow": written_by_mlflow}


def pictures_of_tensorboard(folder: Path) -> dict[str, bytes]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder / "run" / "model" / "tensorboard"))
    events.Reload()
    return {tag: events.Images(tag)[-1].encoded_image_string for tag in events.Tags()["images"]}


def pictures_of_wandb(folder: Path) -> dict[str, bytes]:
    """What the history names, read from where it says that it lies."""
    found = {}
    for file, told in sessions_of_wandb(folder):
        for record in told:
            for item in record.history.item:
                if len(item.nested_key) == 2 and item.nested_key[1] == "path":
                    assert record.history.step.num == 3, "after the epochs, whose steps are taken"
                    found[item.nested_key[0]] = (file.parent / "files" / json.loads(item.value_json)).read_bytes()
    return found


def pictures_of_mlflow(folder: Path) -> dict[str, bytes]:
    (place,) = (folder / "mlruns").rglob("artifacts")
    return {str(path.relative_to(place).with_suffix("")): path.read_bytes() for path in place.rglob("*.png")}


PICTURES = {"tensorboard": pictures_of_tensorboard, "wandb": pictures_of_wandb, "mlflow": pictures_of_mlflow}


@pytest.mark.parametrize("name", names("trackers"))
def test_plots_of_the_heads_are_there_as_they_were_drawn(name: str, tmp_path: Path):
    started(name, tmp_path, done=2).finish(RESULT)
    told = PICTURES[name](tmp_path)
    assert set(told) == {"calibration/like", "confusion/stars"}
    for plot, picture in RESULT.pictures.items():
        seen, drawn = (np.asarray(Image.open(io.BytesIO(one)).convert("RGB")) for one in (told[plot], picture))
        assert np.array_equal(seen, drawn), plot
    # The darkest cell of the confusion is where all of a row are, on the report's blue; the empty one is white.
    cells = np.asarray(Image.open(io.BytesIO(RESULT.pictures["confusion/stars"])).convert("RGB")).astype(int)
    blue = (cells[..., 2] - cells[..., 0]).max()
    assert blue > 80
    assert (cells == 255).all(-1).mean() > 0.4
    _, texts = READ[name](tmp_path)
    assert "curves" in texts, "where the files lie"


@pytest.mark.parametrize("name", names("trackers"))
def test_what_is_told_is_there_also_after_a_stop(name: str, tmp_path: Path):
    session = started(name, tmp_path)
    session.log(1, {"loss/next": 2.0, "valid/ndcg@10": 0.1})
    session.finish(None)
    session = started(name, tmp_path, done=1)
    session.log(2, {"loss/next": 1.0, "valid/ndcg@10": 0.25})
    session.finish(None)
    started(name, tmp_path, done=2).finish(RESULT)
    curves, texts = READ[name](tmp_path)
    assert curves["loss/next"] == [(1, 2.0), (2, 1.0)]
    assert curves["valid/ndcg@10"] == [(1, pytest.approx(0.1)), (2, 0.25)]
    assert "pen; hat" in texts
    assert 0.5 in [value for _, value in curves.get("result/genre/ndcg@10", [])] or "ndcg@10=0.5" in texts
    if name != "tensorboard":
        assert "epochs" in texts, "the configuration is told"


def test_every_tracker_hears_of_a_training_what_the_table_of_curves_holds(tmp_path: Path):
    conf = config(tiny_backbone(tmp_path / "bert"), name="toy", train={"warmup_epochs": 2, "epochs": 1})
    conf = replace(conf, track=[Slot("trackers").build(settings(name, tmp_path)) for name in names("trackers")])
    run = Run.create(conf, tmp_path)
    (tmp_path / "toy").rename(tmp_path / "run")
    run = replace(run, folder=tmp_path / "run")
    dataset(circle()).save(run.path("data"))
    train(conf, run)
    rows = pq.read_table(run.path("model") / "curves.parquet").to_pylist()
    assert len(rows) == 3
    kinds = {name.partition("/")[0] for name in rows[-1] if "/" in name}
    assert kinds == {"loss", "valid", "gradient", "weight", "speed", "memory"}
    assert rows[-1]["gradient/backbone"] > 0
    assert rows[-1]["weight/next"] == 1.0
    for name, read in READ.items():
        curves, _ = read(tmp_path)
        for column in [column for column in rows[-1] if "/" in column]:
            expected = [(row["step"], row[column]) for row in rows if row[column] is not None]
            told = curves[column]
            assert [step for step, _ in told] == [step for step, _ in expected], (name, column)
            for (_, a), (_, b) in zip(told, expected, strict=True):
                assert math.isclose(a, b, rel_tol=1e-4, abs_tol=1e-6), (name, column)


def test_the_result_of_an_evaluation_is_told_with_its_files(tmp_path: Path):
    run = finished()
    conf = replace(run.config, track=[Slot("trackers").build(settings("mlflow", tmp_path))])
    tell_result(conf, run)
    curves, texts = written_by_mlflow(tmp_path)
    metrics = json.loads((run.path("evaluate") / "metrics.json").read_text(encoding="utf-8"))
    (told,) = curves["result/genre/ndcg@10"]
    assert told[1] == pytest.approx(metrics["systems"]["genre"]["ndcg@10"]["value"])
    assert str(run.path("evaluate") / "metrics.json") in texts
    assert "redcup" in texts or "cup" in texts
    assert set(pictures_of_mlflow(tmp_path)) == {"calibration/like", "confusion/like", "confusion/rating"}
    counts = metrics["confusion"]["rating"]["model"]
    assert counts["labels"] == ["1", "5"]
    assert sum(map(sum, counts["counts"])) == metrics["tasks"]["rating"]["rows"]
