"""A finished run of the circle, made once for all tests that only read it."""

from __future__ import annotations

import functools
import os
import tempfile
from pathlib import Path

from genre.run import Run
from toyworld import circle, config, dataset, reviews, text_config, tiny_backbone


@functools.cache
def finished() -> Run:
    """Data, model, rank and evaluation of the circle, whose next item is certain."""
    from genre.evaluate import evaluate
    from genre.rank import rank
    from genre.train import train

    folder = Path(tempfile.mkdtemp(prefix="genre-test-"))
    os.environ["GENRE_CACHE"] = str(folder / "cache")
    conf = config(
        tiny_backbone(folder / "bert"),
        name="circle",
        pipeline={"sources": ["model", "ease", "transitions", "popular"]},
        evaluate={"bootstrap": 200, "baselines": ["popular", "ease", "transitions", "content_knn"], "examples": 3},
        train={"warmup_epochs": 12, "epochs": 1},
    )
    run = Run.create(conf, folder)
    dataset(circle(n_users=80)).save(run.path("data"))
    for stage in (train, rank, evaluate):
        stage(conf, run)
    return run


@functools.cache
def finished_texts() -> Run:
    """Data, model and evaluation of the reviews, whose words are their labels."""
    from genre.evaluate import evaluate
    from genre.train import train

    folder = Path(tempfile.mkdtemp(prefix="genre-test-"))
    os.environ["GENRE_CACHE"] = str(folder / "cache")
    heads = {
        "stars": "regression",
        "recommended": {"type": "binary", "label": "recommended"},
        "colour": {"type": "multiclass", "label": "colour"},
        "names": {"type": "token", "label": "names"},
    }
    conf = text_config(
        tiny_backbone(folder / "bert"),
        name="texts",
        model={"heads": heads, "adapter": "full"},
        evaluate={"bootstrap": 100, "examples": 2},
        train={"warmup_epochs": 4, "epochs": 4, "lr": {"rest": 1e-2, "backbone": 5e-3, "rest_finetune": 5e-3}},
    )
    run = Run.create(conf, folder)
    dataset(reviews(), {"type": "random", "per": "log", "valid": 0.2, "test": 0.2}).save(run.path("data"))
    for stage in (train, evaluate):
        stage(conf, run)
    return run


@functools.cache
def finished_pairs() -> Run:
    """Data, model, rank and evaluation of the circle, its top read again by a cross model."""
    from genre.evaluate import evaluate
    from genre.rank import rank
    from genre.train import train

    folder = Path(tempfile.mkdtemp(prefix="genre-test-"))
    os.environ["GENRE_CACHE"] = str(folder / "cache")
    heads = {"chosen": {"type": "binary", "label": "chosen"}, "like": {"type": "binary", "weight": 0.5}}
    model = {
        "formulation": {
            "type": "cross",
            "targets": 3,
            "negatives": 2,
            "pool": 10,
            "prompt": "{history:8} [SEP] {item}",
        },
        "template": "{title}",
        "max_tokens": 32,
        "heads": heads,
    }
    conf = text_config(
        tiny_backbone(folder / "bert"),
        name="pairs",
        model=model,
        train={"warmup_epochs": 1, "epochs": 1, "early_stopping": {"metric": "chosen.grouped_auc"}},
        pipeline={"sources": ["ease", "popular"], "rerank": {"top": 5}},
        evaluate={"bootstrap": 50, "baselines": ["popular"], "examples": 1},
    )
    run = Run.create(conf, folder)
    dataset(circle(n_users=40)).save(run.path("data"))
    for stage in (train, rank, evaluate):
        stage(conf, run)
    return run
