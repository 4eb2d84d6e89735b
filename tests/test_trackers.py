"""What trackers are told, read back from what they wrote."""

from __future__ import annotations

import json
import math
import struct
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from finished import finished
from genre.component import Slot, names
from genre.run import Run
from genre.trackers import Result, Tracked
from genre.tracking import tell_result
from genre.train import train
from toyworld import circle, config, dataset, tiny_backbone

RESULT = Result({"genre/ndcg@10": 0.5}, [{"user": "u1", "history": "cup", "genre": "pen; hat"}], {"curves": Path("c")})


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


def written_by_wandb(folder: Path):
    from wandb.proto import wandb_internal_pb2

    curves: dict[str, list[tuple[int, float]]] = {}
    texts = ""
    for file in sorted((folder / "run" / "track").glob("wandb/offline-run-*/*.wandb")):
        for data in records(file):
            record = wandb_internal_pb2.Record()
            record.ParseFromString(data)
            for item in record.history.item:
                name = item.key or item.nested_key[0]
                if not name.startswith("_"):
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
