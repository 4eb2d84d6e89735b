"""Training: it learns what there is to learn, repeats itself, and survives a kill."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file

from genre.config import Config
from genre.data import Dataset, Histories, Log
from genre.errors import GenreError, RunError
from genre.model import TrainedModel
from genre.run import Run
from genre.train import train
from toyworld import circle, config, dataset, tiny_backbone


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("GENRE_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture(scope="module")
def backbone(tmp_path_factory):
    return tiny_backbone(tmp_path_factory.mktemp("bert"))


def trained(conf: Config, data: Dataset, folder: Path) -> tuple[Run, Dataset]:
    run = Run.create(conf, folder)
    data.save(run.path("data"))
    train(conf, run)
    return run, Dataset.load(run.path("data"))


def hits(model: TrainedModel, data: Dataset) -> float:
    """Share of users whose test item has the highest score of all that they have not had."""
    log = Log.of(data)
    test = log.parts("test")
    histories = Histories.of(log.before("test"), test.user)
    scores = np.where(histories.matrix(log.n_items).toarray() > 0, -np.inf, model.score_next(histories))
    return float((scores.argmax(1) == test.item).mean())


def test_it_learns_to_walk_around_the_circle(backbone, tmp_path):
    stop = {"metric": "rating.rmse", "patience": 20}
    conf = config(backbone, train={"warmup_epochs": 20, "epochs": 2, "early_stopping": stop})
    run, data = trained(conf, dataset(circle()), tmp_path)
    model = TrainedModel.load(run.path("model") / "finetuned", data)
    assert hits(model, data) > 0.9
    log = Log.of(data)
    test = log.parts("test")
    histories = Histories.of(log.before("test"), test.user)
    even = test.item % 2 == 0
    liked = model.predict("like", histories, test.item)
    assert liked[even].min() > 0.5 > liked[~even].max()
    stars = model.predict("rating", histories, test.item)
    assert abs(stars[even].mean() - 5) < 1
    assert abs(stars[~even].mean() - 1) < 1


def test_without_ids_the_text_alone_is_enough(backbone, tmp_path):
    conf = config(backbone, model={"ids": False}, train={"warmup_epochs": 30, "early_stopping": {"patience": 30}})
    run, data = trained(conf, dataset(circle()), tmp_path)
    assert hits(TrainedModel.load(run.path("model") / "finetuned", data), data) > 0.8


def test_without_text_the_ids_alone_are_enough(backbone, tmp_path):
    conf = config(
        backbone,
        model={"text": False},
        train={"warmup_epochs": 20, "lr": {"rest": 1e-2}, "early_stopping": {"patience": 20}},
    )
    run, data = trained(conf, dataset(circle()), tmp_path)
    model = TrainedModel.load(run.path("model") / "finetuned", data)
    assert hits(model, data) > 0.9
    with pytest.raises(GenreError, match="does not read text"):
        model.embed(["redcup"])


@pytest.mark.parametrize(
    "choice",
    [
        {"adapter": "frozen"},
        {"adapter": "full"},
        {"adapter": {"type": "top_layers", "layers": 1}, "pooling": "attention"},
        {"user": "mean", "balance": "uncertainty", "pooling": "first"},
        {"heads": {"next": {"type": "next_item", "negatives": 8}}},
    ],
    ids=["frozen", "full", "top_layers", "mean", "sampled"],
)
def test_every_choice_lowers_its_loss(backbone, tmp_path, choice):
    conf = config(backbone, model=choice, train={"warmup_epochs": 6, "epochs": 2})
    run, _ = trained(conf, dataset(circle()), tmp_path)
    curves = pq.read_table(run.path("model") / "curves.parquet")
    losses = curves["loss/next"].to_pylist()
    assert losses[-1] < losses[0]
    opened = json.loads((run.path("model") / "training.json").read_text())["trainable_backbone_parameters"]
    assert (opened == 0) == (choice.get("adapter") == "frozen")


def test_sgd_learns_too(backbone, tmp_path):
    conf = config(backbone, train={"optimizer": "sgd", "lr": {"rest": 0.5}, "warmup_epochs": 6, "epochs": 0})
    run, _ = trained(conf, dataset(circle()), tmp_path)
    losses = pq.read_table(run.path("model") / "curves.parquet")["loss/next"].to_pylist()
    assert losses[-1] < losses[0] - 0.2


def test_fine_tuning_moves_the_adapter_and_nothing_below_it(backbone, tmp_path):
    conf = config(backbone, train={"warmup_epochs": 1, "epochs": 4, "lr": {"backbone": 1e-2, "rest_finetune": 5e-3}})
    run, data = trained(conf, dataset(circle()), tmp_path)
    saved = load_file(run.path("model") / "finetuned" / "text.safetensors")
    assert saved
    assert all("lora" in name for name in saved)
    before = TrainedModel.load(run.path("model") / "before", data)
    after = TrainedModel.load(run.path("model") / "finetuned", data)
    assert not np.allclose(before.embed(["redcup"]), after.embed(["redcup"]), atol=1e-3)


def test_an_unseen_item_has_a_vector_of_its_text_alone(backbone, tmp_path):
    reading = circle()
    new = pa.table({"item_id": ["new", "twin"], "title": ["redcup word0", "redcup word0"]})
    reading.items = pa.concat_tables([reading.items, new])
    run, data = trained(config(backbone), dataset(reading), tmp_path)
    vectors = TrainedModel.load(run.path("model") / "finetuned", data).item_vectors()
    ids = data.items["item_id"].to_pylist()
    np.testing.assert_allclose(vectors[ids.index("new")], vectors[ids.index("twin")], atol=1e-5)
    assert not np.allclose(vectors[ids.index("new")], vectors[ids.index("i0")], atol=1e-3)


def test_the_same_seed_gives_the_same_weights_and_another_does_not(backbone, tmp_path):
    made = []
    for name, seed in (("a", 7), ("b", 7), ("c", 8)):
        run, _ = trained(
            config(backbone, model={"dropout": 0.2}) if seed == 7 else _seeded(backbone, seed),
            dataset(circle()),
            tmp_path / name,
        )
        made.append(load_file(run.path("model") / "finetuned" / "towers.safetensors"))
    assert all(torch.equal(made[0][name], made[1][name]) for name in made[0])
    assert not all(torch.equal(made[0][name], made[2][name]) for name in made[0])


def _seeded(backbone, seed):
    from dataclasses import replace

    return replace(config(backbone, model={"dropout": 0.2}), seed=seed)


LONG = {"warmup_epochs": 6, "epochs": 20, "early_stopping": {"patience": 40}}
PROGRAM = """
import sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from toyworld import circle, config, dataset
from genre.run import Run
from genre.train import train
conf = config({backbone!r}, model={{"dropout": 0.2}}, train={train!r})
run = Run.create(conf, Path({folder!r}))
if not run.path("data").exists():
    dataset(circle()).save(run.path("data"))
train(conf, run)
"""


def start(backbone, folder: Path) -> subprocess.Popen[bytes]:
    program = textwrap.dedent(PROGRAM).format(
        tests=str(Path(__file__).parent), backbone=backbone, folder=str(folder), train=LONG
    )
    environment = {**os.environ, "OMP_WAIT_POLICY": "passive"}
    return subprocess.Popen([sys.executable, "-c", program], env=environment, stdout=subprocess.DEVNULL)


@pytest.mark.parametrize("after", [2, 9], ids=["in_warmup", "in_finetune"])
def test_a_killed_training_ends_with_the_weights_of_an_unbroken_one(backbone, tmp_path, after):
    assert start(backbone, tmp_path / "whole").wait() == 0
    broken = start(backbone, tmp_path / "broken")
    curves = tmp_path / "broken" / "run" / "model" / "curves.parquet"
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and broken.poll() is None:
        if curves.exists() and pq.read_metadata(curves).num_rows >= after:
            broken.send_signal(signal.SIGKILL)
            break
        time.sleep(0.005)
    assert broken.wait() == -signal.SIGKILL
    assert not (tmp_path / "broken" / "run" / "model" / "finetuned").exists()
    assert start(backbone, tmp_path / "broken").wait() == 0
    whole, again = (
        load_file(tmp_path / name / "run" / "model" / "finetuned" / "towers.safetensors")
        for name in ("whole", "broken")
    )
    assert all(torch.equal(whole[name], again[name]) for name in whole)


def test_a_finished_training_is_not_done_again(backbone, tmp_path):
    run, _ = trained(config(backbone), dataset(circle()), tmp_path)
    file = run.path("model") / "finetuned" / "towers.safetensors"
    made = file.stat().st_mtime_ns
    train(run.config, run)
    assert file.stat().st_mtime_ns == made


def test_curves_are_kept_as_tensorboard_events(backbone, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run, _ = trained(config(backbone), dataset(circle()), tmp_path)
    events = EventAccumulator(str(run.path("model") / "tensorboard"))
    events.Reload()
    table = pq.read_table(run.path("model") / "curves.parquet")
    values = [event.value for event in events.Scalars("valid/rating.rmse")]
    assert values == pytest.approx(table["valid/rating.rmse"].to_pylist(), rel=1e-5)


def test_early_stopping_keeps_the_best_epoch(backbone, tmp_path):
    conf = config(
        backbone,
        train={
            "warmup_epochs": 30,
            "epochs": 0,
            "lr": {"rest": 5e-2},
            "early_stopping": {"metric": "rating.rmse", "patience": 2},
        },
    )
    run, _ = trained(conf, dataset(circle()), tmp_path)
    rmse = pq.read_table(run.path("model") / "curves.parquet")["valid/rating.rmse"].to_pylist()
    facts = json.loads((run.path("model") / "training.json").read_text())
    assert facts["best_epoch"] == int(np.argmin(rmse)) + 1
    assert len(rmse) == min(30, facts["best_epoch"] + 2)


def test_a_model_file_with_a_changed_byte_is_refused(backbone, tmp_path):
    run, data = trained(config(backbone), dataset(circle()), tmp_path)
    file = run.path("model") / "finetuned" / "towers.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.raises(RunError, match=r"towers\.safetensors: its bytes differ .*run 'genre train' again"):
        TrainedModel.load(run.path("model") / "finetuned", data)


def test_a_model_of_other_data_is_refused(backbone, tmp_path):
    run, _ = trained(config(backbone), dataset(circle()), tmp_path)
    other = dataset(circle(seed=5))
    other.save(tmp_path / "other")
    with pytest.raises(RunError, match="was trained on other data"):
        TrainedModel.load(run.path("model") / "finetuned", Dataset.load(tmp_path / "other"))


def test_one_class_only_is_nothing_to_learn(backbone, tmp_path):
    conf = config(backbone, model={"heads": {"next": "next_item", "like": {"type": "binary", "label": "value >= 0"}}})
    with pytest.raises(GenreError, match=r"model\.heads\.like: 'value >= 0' is 1 in all .* nothing to learn"):
        trained(conf, dataset(circle()), tmp_path)


def test_a_label_of_a_missing_column_is_named(backbone, tmp_path):
    conf = config(backbone, model={"heads": {"next": "next_item", "time": {"type": "regression", "label": "valu"}}})
    with pytest.raises(GenreError, match="label 'valu': the interactions have no such column; did you mean 'value'"):
        trained(conf, dataset(circle()), tmp_path)


def test_a_loss_that_explodes_says_so(backbone, tmp_path):
    conf = config(backbone, train={"optimizer": "sgd", "lr": {"rest": 1e30}, "clip": 1e30, "warmup_epochs": 8})
    with pytest.raises(GenreError, match=r"no longer finite.*lower train\.lr"):
        trained(conf, dataset(circle()), tmp_path)
