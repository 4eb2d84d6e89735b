"""Few labels: an even draw that the seed alone decides, a contrastive start, and the learning curve of a benchmark."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
import yaml
from safetensors.torch import load_file

from genre import checkpoint
from genre.contrast import pair_loss
from genre.errors import GenreError
from genre.run import Run
from genre.sheets import SheetMaker
from genre.shots import classes, draw, draw_of_each
from genre.textencoder import load
from genre.textfitting import TextFitter
from genre.train import train
from toyworld import circle, dataset, reviews, text_config, tiny_backbone

SPLIT = {"type": "random", "per": "log", "valid": 0.2, "test": 0.2}
HEADS = {"recommended": {"type": "binary", "label": "recommended"}, "stars": "regression"}


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("GENRE_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture(scope="module")
def backbone(tmp_path_factory):
    return tiny_backbone(tmp_path_factory.mktemp("bert"))


def drawn(label: Any, shots: int, seed: int = 0) -> np.ndarray:
    return draw(np.array(label, dtype=np.float32), shots, np.random.default_rng(seed))


def test_each_class_gives_as_many_until_it_has_no_more():
    label = np.array([0.0] * 90 + [1.0] * 3 + [2.0] * 20 + [np.nan] * 30, dtype=np.float32)
    assert np.bincount(label[drawn(label, 9)].astype(int)).tolist() == [3, 3, 3]
    assert np.bincount(label[drawn(label, 23)].astype(int)).tolist() == [10, 3, 10]
    assert sorted(np.bincount(label[drawn(label, 4)].astype(int)).tolist()) == [1, 1, 2]
    whole = drawn(label, 120)
    assert np.isnan(label[whole]).sum() == 7, "rows without the label come when all others are taken"
    assert len(drawn(label, 1000)) == len(label) == len(set(drawn(label, 1000).tolist()))
    assert (np.diff(whole) > 0).all()


def test_an_amount_is_evened_over_its_quarters():
    label = np.random.default_rng(0).exponential(size=400)
    got = np.bincount(classes(label.astype(np.float32))[drawn(label, 40)])
    assert got.tolist() == [10, 10, 10, 10]
    counts = np.array([0.0] * 300 + list(range(100)))
    assert len(np.unique(classes(counts.astype(np.float32)))) == 2, "quarters that begin with the same value are one"


def test_datasets_give_alike_each_even_in_a_label_that_it_has():
    source = np.repeat(np.arange(3), [100, 6, 50]).astype(np.int32)
    one, other = np.full((2, 156), np.nan, dtype=np.float32)
    one[:100], other[100:] = np.arange(100) % 2, (np.arange(56) % 5 == 0)
    rows = draw_of_each([one, other], source, 32, np.random.default_rng(0))
    assert np.bincount(source[rows]).tolist() == [13, 6, 13]
    assert sorted(np.bincount(one[rows[source[rows] == 0]].astype(int)).tolist()) == [6, 7]
    assert np.bincount(other[rows[source[rows] == 2]].astype(int))[1] >= 6
    assert len(draw_of_each([one, other], source, 1000, np.random.default_rng(0))) == 156
    assert len(draw_of_each([], source, 10, np.random.default_rng(0))) == 10


def test_another_seed_draws_others():
    label = [0, 1] * 50
    assert np.array_equal(drawn(label, 10, 1), drawn(label, 10, 1))
    assert not np.array_equal(drawn(label, 10, 1), drawn(label, 10, 2))
    assert {row for seed in range(120) for row in drawn(label, 10, seed).tolist()} == set(range(100))


def maker(backbone: dict[str, Any], data: Any, shots: int | None, seed: int = 7, **model: Any) -> SheetMaker:
    section = text_config(backbone, model={"heads": HEADS, **model}).model
    return SheetMaker(section, load(section.backbone), data, seed, shots)


def test_few_texts_are_trained_and_validated_on_and_all_are_tested(backbone):
    data = dataset(reviews(), SPLIT)
    few, every = maker(backbone, data, 16), maker(backbone, data, None)
    sheet = few.part("train")
    assert len(sheet) == len(few.part("valid")) == 16
    assert len(few.part("test")) == len(every.part("test"))
    assert np.bincount(sheet.labels["recommended"].astype(int)).tolist() == [8, 8]
    assert {tuple(one) for one in sheet.tokens} <= {tuple(one) for one in every.part("train").tokens}
    assert sheet.tokens == few.part("train").tokens
    assert sheet.tokens != maker(backbone, data, 16, seed=8).part("train").tokens
    assert len(maker(backbone, data, 10_000).part("train")) == len(every.part("train"))
    other = maker(backbone, data, 16, template="{text} {colour}", max_tokens=16).part("train")
    assert sheet.asked is not None
    assert other.asked is not None
    assert np.array_equal(other.asked.row, sheet.asked.row), "what is drawn does not depend on how it is read"


def test_of_pairs_interactions_are_counted_and_keep_their_negatives(backbone):
    formulation = {"type": "cross", "targets": 4, "negatives": 2, "pool": 10}
    heads = {"chosen": {"type": "binary", "label": "chosen"}, "like": {"type": "binary", "label": "value >= 4"}}
    pairs = {"formulation": formulation, "template": "{title}", "max_tokens": 32, "heads": heads}
    sheet = maker(backbone, dataset(circle()), 10, **pairs).part("train")
    assert len(np.unique(sheet.group)) == 10
    assert len(sheet) == 30
    assert sheet.labels["chosen"].sum() == 10
    likes = maker(backbone, dataset(circle()), 10, **pairs | {"heads": {"like": heads["like"]}}).part("train")
    assert np.nansum(likes.labels["like"]) == 5


def test_pairs_of_one_class_are_drawn_together():
    vectors = torch.tensor([[1.0, 0.0], [2.0, 0.0], [0.0, 3.0]])
    labels = torch.tensor([0.0, 0.0, 1.0])
    assert pair_loss(vectors, labels) == 0
    torch.testing.assert_close(pair_loss(vectors, torch.tensor([0.0, 1.0, 1.0])), torch.tensor(0.5 * 1 + 0.5 * 0.5))
    assert pair_loss(vectors[:1], labels[:1]) == 0
    torch.manual_seed(0)
    free = torch.randn(8, 4, requires_grad=True)
    optimizer = torch.optim.Adam([free], lr=0.1)
    classes_ = torch.tensor([0.0, 1.0] * 4)
    for _ in range(100):
        optimizer.zero_grad()
        pair_loss(free, classes_).backward()
        optimizer.step()
    assert pair_loss(free, classes_) < 0.01


def start(**more: Any) -> dict[str, Any]:
    return {"warmup_epochs": 3, "epochs": 2, "contrastive_start": 3, "shots": 48, **more}


def run_of(backbone: dict[str, Any], folder: Path, train_: dict[str, Any], **model: Any) -> Run:
    stop = {"metric": "recommended.label_auc", "patience": 30}
    conf = text_config(backbone, model={"heads": HEADS, **model}, train={"early_stopping": stop, **train_})
    run = Run.create(conf, folder)
    if not run.path("data").exists():
        dataset(reviews(), SPLIT).save(run.path("data"))
    train(conf, run)
    return run


def test_a_contrastive_start_leaves_the_model_before_untouched(backbone, tmp_path):
    lr = {"backbone": 3e-2, "rest": 1e-2}
    run = run_of(backbone, tmp_path / "a", start(lr=lr, contrastive_start=8))
    curves = pq.read_table(run.path("model") / "curves.parquet").to_pydict()
    assert curves["phase"] == ["warmup"] * 3 + ["contrast"] * 8 + ["heads"] * 3 + ["finetune"] * 2
    losses = [loss for loss in curves["loss/contrast"] if loss is not None]
    assert losses[-1] < 0.9 * losses[0]
    plain = run_of(backbone, tmp_path / "b", start(lr=lr, contrastive_start=0))
    states = [load_file(one.path("model") / "before" / "text.safetensors") for one in (run, plain)]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    heads = [load_file(one.path("model") / "before" / "heads.safetensors") for one in (run, plain)]
    assert all(torch.equal(heads[0][name], heads[1][name]) for name in heads[0])
    facts = json.loads((run.path("model") / "training.json").read_text())
    assert facts["epochs"] == {"warmup": 3, "contrast": 8, "heads": 3, "finetune": 2}
    assert facts["interactions"] == 48


def test_the_heads_warm_up_again_on_what_the_start_made_of_the_texts(backbone):
    conf = text_config(backbone, model={"heads": HEADS}, train=start())
    fitter = TextFitter(conf, dataset(reviews(), SPLIT))
    fitter.probe("warmup")
    assert fitter.table is not None
    before = fitter.table.clone()
    with torch.no_grad():
        for _, weight in fitter.text.opened():
            weight.add_(0.1 * torch.randn_like(weight))
    fitter.probe("heads")
    assert not torch.allclose(fitter.table, before)
    text = {name: weight.clone() for name, weight in fitter.text.named_parameters()}
    fitter.epoch("heads", 1, fitter.steppers("heads"), lambda n: None)
    assert all(torch.equal(text[name], weight) for name, weight in fitter.text.named_parameters())


def test_a_start_that_breaks_in_every_phase_ends_with_the_weights_of_an_unbroken_one(backbone, tmp_path, monkeypatch):
    settings = start(perturb="rdrop")
    whole = run_of(backbone, tmp_path / "whole", settings)
    written, save = 0, checkpoint.save

    def breaks(*args: Any) -> None:
        nonlocal written
        save(*args)
        written += 1
        if written in (2, 5, 8, 10):
            raise KeyboardInterrupt

    monkeypatch.setattr(checkpoint, "save", breaks)
    for _ in range(4):
        with pytest.raises(KeyboardInterrupt):
            run_of(backbone, tmp_path / "broken", settings)
    broken = run_of(backbone, tmp_path / "broken", settings)
    for version in ("before", "finetuned"):
        for name in ("heads", "text"):
            one, other = (load_file(run.path("model") / version / f"{name}.safetensors") for run in (whole, broken))
            assert all(torch.equal(one[key], other[key]) for key in one), (version, name)


def test_without_epochs_of_fine_tuning_the_start_is_all_the_language_model_gets(backbone, tmp_path):
    run = run_of(backbone, tmp_path, start(epochs=0))
    before, after = (load_file(run.path("model") / one / "text.safetensors") for one in ("before", "finetuned"))
    assert any(not torch.equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize(
    ("model", "says"),
    [({"heads": {"stars": "regression"}}, "binary or multiclass head"), ({"adapter": "frozen"}, "opens no weight")],
)
def test_a_contrastive_start_says_what_it_needs(backbone, model, says):
    conf = text_config(backbone, model={"heads": HEADS, **model}, train={"contrastive_start": 1})
    with pytest.raises(GenreError, match=rf"train\.contrastive_start.*{says}"):
        TextFitter(conf, dataset(reviews(), SPLIT))


@pytest.fixture
def benchmark():
    file = Path(__file__).parents[1] / "benchmarks" / "shots.py"
    spec = importlib.util.spec_from_file_location("shots_benchmark", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_benchmark_stands_beside_tfidf_on_the_same_shots(backbone, benchmark, tmp_path, capsys):
    table = reviews().interactions.select(["value", "recommended", "text"])
    pq.write_table(table, tmp_path / "texts.parquet")
    reader = {"type": "reviews", "path": str(tmp_path / "texts.parquet"), "columns": {}, "text": ["text"]}
    model = {"formulation": "text", "backbone": backbone, "template": "{text}", "dim": 16, "heads": HEADS}
    train_ = {"early_stopping": {"metric": "stars.rmse"}, "epochs": 1, "warmup_epochs": 1}
    config = {"data": {"reader": {**reader, "item_columns": []}, "split": SPLIT}, "model": model, "train": train_}
    config["pipeline"] = {"sources": ["popular"]}
    (tmp_path / "toy.yaml").write_text(yaml.safe_dump(config))
    out = tmp_path / "out.json"
    places = ["--root", str(tmp_path / "runs"), "--out", str(out)]
    benchmark.main([str(tmp_path / "toy.yaml"), "--quick", "--set", "train.early_stopping.patience=2", *places])
    found = json.loads(out.read_text())
    assert [point["shots"] for point in found["points"]] == [8, 16]
    for point in found["points"]:
        assert [run["texts"] for run in point["runs"]] == [point["shots"]] * 2
        assert point["runs"][0]["scores"]["tfidf"] != point["runs"][1]["scores"]["tfidf"]
        gain = [run["scores"]["model"]["stars.rmse"] - run["scores"]["tfidf"]["stars.rmse"] for run in point["runs"]]
        assert point["summary"]["gain"]["value"] == pytest.approx(np.mean(gain))
        low, high = point["summary"]["gain"]["ci95"]
        assert low <= min(gain) <= max(gain) <= high
    assert "16 shots  model" in capsys.readouterr().out


def test_an_interval_is_that_of_student(benchmark):
    one = benchmark.interval([1.0, 2.0, 3.0])
    assert one["value"] == 2
    np.testing.assert_allclose(one["ci95"], [2 - 4.302653 / np.sqrt(3), 2 + 4.302653 / np.sqrt(3)], rtol=1e-5)
    assert benchmark.interval([1.0])["ci95"] is None
