"""The test part, read for a setting that won."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from pydantic import TypeAdapter

from genre.cases import Cases
from genre.config import Config
from genre.data import Dataset, Log
from genre.resources import load_model
from genre.run import Run
from genre.sheets import SheetMaker
from genre.systems import Catalogue, longest_list, measure, metric_named, rank_cases
from genre.textmodel import TrainedTexts
from genre.textvalidation import TextValidation
from genre.train import train


def on_test(values: dict[str, Any], home: Run, name: str, objective: str) -> float:
    """What a setting comes to on the test part of the data in ``home``, trained anew with the seed that it has."""
    config = replace(TypeAdapter(Config).validate_python(values), name=name, track=[])
    run = Run.create(config, home.folder.parent / "tests")
    if not run.path("data").is_symlink():
        run.path("data").symlink_to(home.path("data").resolve(), target_is_directory=True)
    train(config, run)
    data = Dataset.load(run.path("data"))
    if config.model.formulation.reads == "items":
        return _ranked(config, run, data, objective)
    model = TrainedTexts.load(run.path("model") / "finetuned", data)
    sheet = SheetMaker(config.model, model.loaded, data, config.seed, config.train.shots).part("test")
    room = config.train.cache_gb * 1e9
    return TextValidation(sheet, config.model.heads, objective, room, config.seed).measure(model)[objective]


def _ranked(config: Config, run: Run, data: Dataset, objective: str) -> float:
    log, model = Log.of(data), load_model(run, data)
    assert model is not None
    seen = log.parts("train")
    counts = np.bincount(seen.item[seen.positive], minlength=log.n_items).astype(np.int32)
    cases = Cases.of(log, "test", config.evaluate.candidates)
    metrics = [metric_named(objective)]
    catalogue = Catalogue(counts, model.item_vectors())
    ranking = rank_cases(lambda some: model.score_next(some.histories), cases, catalogue, longest_list(metrics))
    return float(np.nanmean(np.asarray(measure(ranking, metrics)[objective], dtype=np.float64)))
