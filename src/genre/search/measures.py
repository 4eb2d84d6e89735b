"""How good a trained model is on validation, and what it costs: the objectives of a search."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from genre.cases import Cases
from genre.config import Config
from genre.data import Dataset, Histories, Log
from genre.prepare import seed_of
from genre.ranking import top_lists
from genre.resources import load_model
from genre.run import Run
from genre.searchsection import COSTS, PIPELINE
from genre.systems import Catalogue, longest_list, measure, metric_named, rank_cases
from genre.tuning import CRITERION, MOST_CASES
from genre.validation import Measure, Validation

ASKED = 30
"""People, or texts, that are asked one by one to see how long an answer takes."""
Units = dict[str, NDArray[np.float64]]
"""``user``, and the first objective's value of each case, where it is a mean over cases."""


def larger_is_better(objective: str) -> bool:
    """Whether an objective is to be made large."""
    if objective in COSTS:
        return False
    name = CRITERION if objective == PIPELINE else objective
    return Measure.of(name).sign > 0


def objectives_of(config: Config, run: Run, objectives: list[str]) -> tuple[dict[str, float], Units]:
    """The value of every objective of a run that was trained, and ranked where the pipeline is asked for."""
    data = Dataset.load(run.path("data"))
    found: dict[str, float] = {}
    units: Units = {}
    model = _model(config, run, data)
    for objective in objectives:
        if objective == "train_seconds":
            found[objective] = float(_json(run.path("model") / "training.json")["seconds"])
        elif objective == "size_mb":
            files = [path for path in (run.path("model") / "finetuned").rglob("*") if path.is_file()]
            found[objective] = sum(path.stat().st_size for path in files) / 2**20
        elif objective == "latency_ms":
            found[objective] = _latency(config, data, model)
        elif objective == PIPELINE:
            found[objective] = float(_json(run.path("rank") / "scorer.json")["held_out"][CRITERION])
        else:
            value, own = _quality(config, data, model, objective)
            found[objective] = value
            units = units or own
    return found, units


def _quality(config: Config, data: Dataset, model: Any, objective: str) -> tuple[float, Units]:
    """A metric on the validation part; of rankings on the very cases that sources are tuned on."""
    watched = Measure.of(objective)
    log = Log.of(data)
    if config.model.formulation.reads != "items":
        return _texts(config, data, model).measure(model)[objective], {}
    if watched.head is not None:
        return Validation(log, config.model.heads, objective, seed=seed_of(config)).measure(model)[objective], {}
    train = log.parts("train")
    cases = Cases.of(log, "valid", config.evaluate.candidates).sample(MOST_CASES, seed_of(config))
    counts = np.bincount(train.item[train.positive], minlength=log.n_items).astype(np.int32)
    metrics = [metric_named(objective)]
    catalogue = Catalogue(counts, model.item_vectors())
    ranking = rank_cases(lambda some: model.score_next(some.histories), cases, catalogue, longest_list(metrics))
    values = np.asarray(measure(ranking, metrics)[objective], dtype=np.float64)
    known = values[np.isfinite(values)]
    units = {"user": cases.user, "value": values} if values.ndim else {}
    return float(known.mean()) if known.size else float("nan"), units


def _texts(config: Config, data: Dataset, model: Any) -> Any:
    from genre.sheets import SheetMaker
    from genre.textvalidation import TextValidation

    maker = SheetMaker(config.model, model.loaded, data, seed_of(config), config.train.shots)
    room, metric = config.train.cache_gb * 1e9, config.train.early_stopping.metric
    return TextValidation(maker.part("valid"), config.model.heads, metric, room, seed_of(config))


def _model(config: Config, run: Run, data: Dataset) -> Any:
    if config.model.formulation.reads == "items":
        return load_model(run, data)
    from genre.textmodel import TrainedTexts

    return TrainedTexts.load(run.path("model") / "finetuned", data)


def _latency(config: Config, data: Dataset, model: Any) -> float:
    """Median milliseconds of an answer about one person, or one text, asked alone; after a few that warm up."""
    if config.model.formulation.reads == "items":
        log = Log.of(data)
        people = np.arange(min(ASKED, log.n_users), dtype=np.int32)
        histories = Histories.of(log.parts("train"), people)
        shown = np.ones((1, log.n_items), dtype=bool)
        asked: list[Any] = [histories.take(np.array([i])) for i in people]

        def ask(one: Any) -> Any:
            return top_lists(model.score_next(one), shown, 10)
    else:
        sheet = _texts(config, data, model).sheet
        asked, ask = [sheet.take(np.array([i])) for i in range(min(ASKED, len(sheet)))], model.answers
    seconds = []
    for one in [*asked[:3], *asked]:
        began = time.perf_counter()
        ask(one)
        seconds.append(time.perf_counter() - began)
    return 1000 * float(np.median(seconds[3:]))


def _json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))
