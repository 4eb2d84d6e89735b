"""Every adapter in every formulation, on an encoder and a decoder: it learns, moves what it should, and comes back."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from genre.component import names
from genre.config import Config
from genre.data import Dataset, Histories, Log
from genre.errors import GenreError
from genre.fitting import Fitter
from genre.merging import merge
from genre.model import TrainedModel
from genre.textencoder import load
from genre.textfitting import TextFitter
from genre.textmodel import TrainedTexts
from toyworld import circle, config, dataset, reviews, text_config, tiny_backbone, tiny_decoder

SPLIT = {"type": "random", "per": "log", "valid": 0.2, "test": 0.2}
TRAIN = {"warmup_epochs": 1, "epochs": 8, "batch_size": 16, "lr": {"backbone": 5e-3, "rest_finetune": 5e-3}}
CROSS = {
    "formulation": {"type": "cross", "targets": 2, "negatives": 1, "pool": 10, "prompt": "{history:8} [SEP] {item}"},
    "template": "{title}",
    "max_tokens": 24,
    "heads": {"chosen": {"type": "binary", "label": "chosen"}, "like": {"type": "binary", "label": "value >= 4"}},
}
KINDS = {"encoder": tiny_backbone, "decoder": tiny_decoder}
MERGED = {"lora", "dora", "adalora", "ia3"}
APART = {"bottleneck", "prefix", "prompt", "side"}


@pytest.fixture(scope="module")
def backbones(tmp_path_factory) -> dict[str, dict[str, Any]]:
    return {kind: make(tmp_path_factory.mktemp(kind)) for kind, make in KINDS.items()}


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("GENRE_CACHE", str(tmp_path_factory.getbasetemp() / "matrix-cache"))


def choices(adapter: str, formulation: str, backbone: dict[str, Any]) -> tuple[Config, Dataset]:
    """A configuration and its data."""
    model: dict[str, Any] = {"adapter": adapter, "backbone": backbone}
    if formulation == "two_tower":
        return config(backbone, model=model | {"ids": False}, train=TRAIN), dataset(circle(n_users=24, length=8))
    if formulation == "text":
        return text_config(backbone, model=model, train=TRAIN), dataset(reviews(90), SPLIT)
    return text_config(backbone, model=model | CROSS, train=TRAIN), dataset(circle(n_users=24, length=8))


def answers(fitter: Any, trained: Any, data: Dataset) -> np.ndarray:
    """What a model says of the test part."""
    if isinstance(fitter, TextFitter):
        sheet = fitter.maker.part("test")
        return np.array([np.asarray(values) for values in trained.answers(sheet).values()], dtype=np.float32)
    log = Log.of(data)
    histories = Histories.of(log.before("test"), log.parts("test").user)
    return np.concatenate([trained.score_next(histories), trained.embed(["redcup word1", "bluehat"])], axis=None)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("formulation", ["two_tower", "text", "cross"])
@pytest.mark.parametrize("adapter", names("adapters"))
def test_it_learns_and_comes_back(adapter: str, formulation: str, kind: str, backbones, tmp_path):
    conf, data = choices(adapter, formulation, backbones[kind])
    untouched = {key: weight.clone() for key, weight in load(conf.model.backbone).layers.named_parameters()}
    fitter: Any = (Fitter if formulation == "two_tower" else TextFitter)(conf, data)
    before = {key: weight.detach().clone() for key, weight in fitter.text.opened()}
    assert fitter.phases() == (["warmup"] if adapter == "frozen" else ["warmup", "finetune"])
    phase = fitter.phases()[-1]
    steppers = fitter.steppers(phase)
    losses = [sum(fitter.epoch(phase, n, steppers, lambda done: None).values()) for n in range(1, 9)]
    fitter.settle()
    assert min(losses[-2:]) < losses[0]

    moved = [key for key, weight in fitter.text.opened() if not torch.equal(weight, before[key])]
    assert bool(moved) == (adapter != "frozen")
    now = dict(load(conf.model.backbone).layers.named_parameters())
    assert all(torch.equal(untouched[key], now[key]) for key in untouched), "the shared language model was changed"

    trained = fitter.trained()
    said = answers(fitter, trained, data)
    trained.save(tmp_path / "model", data.hash)
    kept = (TrainedModel if formulation == "two_tower" else TrainedTexts).load(tmp_path / "model", data)
    np.testing.assert_allclose(answers(fitter, kept, data), said, atol=2e-5)

    if adapter in APART:
        with pytest.raises(GenreError, match=r"."):
            merge(fitter.text.stack)
        return
    merge(fitter.text.stack)
    fitter.settle()
    np.testing.assert_allclose(answers(fitter, fitter.trained(), data), said, atol=2e-4)
    if adapter in MERGED:
        assert not any("lora" in key or "ia3" in key for key, _ in fitter.text.named_parameters())
