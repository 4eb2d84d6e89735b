"""Training on texts: reviews that say what they are labelled with, and prompts of a history and an item."""

import json
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest

from genre.data import Dataset, Histories, Log
from genre.pipeline import Pipeline
from genre.run import Run
from genre.sheets import SheetMaker
from genre.textmodel import PairReader, TrainedTexts
from genre.train import train
from genre.types import Query
from toyworld import circle, dataset, reviews, text_config, tiny_backbone, tiny_decoder

SPLIT = {"type": "random", "per": "log", "valid": 0.2, "test": 0.2}


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("GENRE_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture(scope="module")
def backbones(tmp_path_factory):
    return {
        "encoder": tiny_backbone(tmp_path_factory.mktemp("bert")),
        "decoder": tiny_decoder(tmp_path_factory.mktemp("llama")),
    }


def trained(conf, data, folder) -> tuple[TrainedTexts, Dataset, dict]:
    run = Run.create(conf, folder)
    data.save(run.path("data"))
    train(conf, run)
    data = Dataset.load(run.path("data"))
    curves = pq.read_table(run.path("model") / "curves.parquet").to_pydict()
    return TrainedTexts.load(run.path("model") / "finetuned", data), data, curves


@pytest.mark.parametrize("kind", ["encoder", "decoder"])
def test_a_text_is_read_and_every_head_answers(backbones, tmp_path, kind):
    conf = text_config(backbones[kind], train={"warmup_epochs": 25, "epochs": 8, "lr": {"rest": 1e-2}})
    model, data, curves = trained(conf, dataset(reviews(), SPLIT), tmp_path)
    assert curves["valid/stars.rmse"][-1] < 0.7
    assert curves["valid/recommended.label_auc"][-1] > 0.95
    sheet = SheetMaker(conf.model, model.loaded, data, conf.seed).part("test")
    said = np.array(model.answers(sheet)["stars"])
    assert np.abs(said - sheet.labels["stars"]).mean() < 0.6


CROSS = {
    "formulation": {"type": "cross", "targets": 4, "negatives": 2, "pool": 10, "prompt": "{history:8} [SEP] {item}"},
    "template": "{title}",
    "max_tokens": 32,
    "adapter": "full",
    "heads": {
        "chosen": {"type": "binary", "label": "chosen"},
        "like": {"type": "binary", "label": "value >= 4", "weight": 0.5},
    },
}


@pytest.mark.parametrize("kind", ["encoder", "decoder"])
def test_a_history_and_an_item_are_read_together(backbones, tmp_path, kind):
    train_ = {"warmup_epochs": 1, "epochs": 12, "lr": {"backbone": 3e-3, "rest_finetune": 3e-3}}
    train_ |= {"early_stopping": {"metric": "like.label_auc", "patience": 20}}
    conf = text_config(backbones[kind], model=CROSS | {"pooling": "last"}, train=train_)
    model, data, curves = trained(conf, dataset(circle()), tmp_path)
    assert curves["loss/chosen"][-1] < curves["loss/chosen"][0]
    assert curves["valid/like.label_auc"][-1] > 0.9
    log = Log.of(data)
    test = log.parts("test")
    histories = Histories.of(log.before("test"), test.user)
    said = PairReader(model, data).predict("like", histories, test.item)
    assert said[test.item % 2 == 0].mean() != said[test.item % 2 == 1].mean()


def test_a_cross_model_reads_the_top_of_the_pipeline_again(backbones, tmp_path):
    from genre.evaluate import evaluate
    from genre.rank import rank

    train_ = {"warmup_epochs": 1, "epochs": 2, "lr": {"backbone": 3e-3}}
    train_ |= {"early_stopping": {"metric": "chosen.grouped_auc"}}
    pipeline = {"sources": ["ease", "popular"], "rerank": {"top": 5}}
    measured = {"bootstrap": 50, "baselines": ["popular"], "examples": 1}
    conf = text_config(backbones["encoder"], model=CROSS, train=train_, pipeline=pipeline, evaluate=measured)
    run = Run.create(conf, tmp_path)
    dataset(circle()).save(run.path("data"))
    for stage in (train, rank, evaluate):
        stage(conf, run)
    found = json.loads((run.path("evaluate") / "metrics.json").read_text())
    assert {"genre", "genre_before", "retrieved", "popular"} <= set(found["systems"])
    assert "like.label_auc" in found["systems"]["model"]
    served, plain = Pipeline.load(run.folder), replace(Pipeline.load(run.folder), reranker=None)
    one, other = (p.recommend([Query("u3", k=8)])[0] for p in (served, plain))
    tops = [{item.item_id for item in slate.items[:5]} for slate in (one, other)]
    assert tops[0] == tops[1]
    assert one.items[0].predictions.keys() == {"chosen", "like"}


def test_texts_are_measured_beside_tfidf(backbones, tmp_path):
    from genre.evaluate import evaluate

    conf = text_config(backbones["encoder"], evaluate={"bootstrap": 50, "examples": 2})
    run = Run.create(conf, tmp_path)
    dataset(reviews(), SPLIT).save(run.path("data"))
    train(conf, run)
    evaluate(conf, run)
    found = json.loads((run.path("evaluate") / "metrics.json").read_text())
    assert set(found["systems"]) == {"model", "model_before", "global_mean", "tfidf"}
    assert found["systems"]["tfidf"]["stars.rmse"]["value"] < found["systems"]["global_mean"]["stars.rmse"]["value"]
    assert {c["b"] for c in found["comparisons"]} == {"model_before", "global_mean", "tfidf"}
    assert len(json.loads((run.path("evaluate") / "examples.json").read_text())) == 2
