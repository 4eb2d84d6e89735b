"""Training on texts: reviews that say what they are labelled with, and prompts of a history and an item."""

import json
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from genre.data import Dataset, Histories, Log
from genre.pipeline import Pipeline
from genre.run import Run
from genre.sheets import SheetMaker
from genre.textencoder import load
from genre.textmodel import PairReader, TrainedTexts
from genre.train import train
from genre.types import Query
from toyworld import PIECES, circle, dataset, reviews, text_config, tiny_backbone, tiny_decoder

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


def test_spans_are_found_whatever_blanks_a_text_has(backbones, tmp_path):
    reading = reviews(60)
    texts = [f"  {text}  ." for text in reading.interactions["text"].to_pylist()]
    places = [spans[0].split(":") for spans in reading.interactions["names"].to_pylist()]
    spans = [[f"{int(start) + 2}:{int(end) + 2}:{label}"] for start, end, label in places]
    for name, column in (("text", texts), ("names", spans)):
        at = reading.interactions.column_names.index(name)
        reading.interactions = reading.interactions.set_column(at, name, pa.array(column))
    heads = {"names": {"type": "token", "label": "names"}}
    conf = text_config(backbones["encoder"], model={"heads": heads})
    data = dataset(reading, SPLIT)
    sheet = SheetMaker(conf.model, load(conf.model.backbone), data, 7).part("train")
    for prompt, labels in zip(sheet.prompts, sheet.token_labels["names"], strict=True):
        words = [PIECES[t] for t, label in zip(prompt.tokens, labels, strict=True) if label == 1]
        assert words == [prompt.text.split()[1]]


@pytest.mark.parametrize("kind", ["encoder", "decoder"])
def test_tokens_are_labelled(backbones, tmp_path, kind):
    heads = {"names": {"type": "token", "label": "names"}, "stars": {"type": "ordinal", "label": "value"}}
    stop = {"metric": "names.entity_f1", "patience": 20}
    train_ = {"warmup_epochs": 2, "epochs": 6, "lr": {"backbone": 5e-3, "rest": 1e-2}, "early_stopping": stop}
    conf = text_config(backbones[kind], model={"heads": heads}, train=train_)
    _, _, curves = trained(conf, dataset(reviews(), SPLIT), tmp_path)
    assert curves["valid/names.entity_f1"][-1] > 0.95


def test_a_decoder_learns_to_write_a_text_that_other_heads_do_not_see(backbones, tmp_path):
    heads = {"colour": {"type": "generation", "label": "colour"}, "stars": "regression"}
    stop = {"metric": "colour.perplexity", "patience": 20}
    train_ = {"warmup_epochs": 1, "epochs": 10, "lr": {"backbone": 1e-2}, "early_stopping": stop}
    conf = text_config(backbones["decoder"], model={"heads": heads, "adapter": "full"}, train=train_)
    model, data, curves = trained(conf, dataset(reviews(), SPLIT), tmp_path)
    assert curves["valid/colour.perplexity"][-1] < 0.5 * curves["valid/colour.perplexity"][0]
    sheet = SheetMaker(conf.model, model.loaded, data, conf.seed).part("test")
    bare = replace(sheet, tokens=[prompt.tokens for prompt in sheet.prompts])
    bare.token_labels.clear()
    said, alone = np.array(model.answers(sheet)["stars"]), np.array(model.answers(bare)["stars"])
    np.testing.assert_allclose(said, alone, atol=1e-4)


def test_a_decoder_answers_in_words(backbones, tmp_path):
    head = {"type": "binary", "label": "recommended", "words": ["yes", "no"]}
    model_ = {"heads": {"recommended": head}, "towers": "direct", "pooling": "last", "adapter": "full"}
    stop = {"metric": "recommended.label_auc", "patience": 20}
    train_ = {"warmup_epochs": 0, "epochs": 8, "lr": {"backbone": 5e-3, "rest_finetune": 1e-3}, "early_stopping": stop}
    conf = text_config(backbones["decoder"], model=model_, train=train_)
    _, _, curves = trained(conf, dataset(reviews(), SPLIT), tmp_path)
    assert curves["valid/recommended.label_auc"][-1] > 0.9
