"""How good a trained model is on validation, and what it costs: the objectives of a search."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from genre.cases import Cases
from genre.config import Config
from genre.data import Dataset, Histories, Log
from genre.metrics import Ranking
from genre.prepare import seed_of
from genre.ranking import top_lists
from genre.resources import load_model
from genre.run import Run
from genre.search.gaps import gap, groups_of
from genre.searchsection import COSTS, PIPELINE, Gap
from genre.systems import Catalogue, longest_list, measure, metric_named, rank_cases
from genre.tuning import CRITERION, MOST_CASES
from genre.types import Ints
from genre.validation import Measure, Validation

ASKED = 30
"""People, or texts, that are asked one by one to see how long an answer takes."""
Units = dict[str, NDArray[np.float64]]
"""``user``, and the first objective's value of each case, where it is a mean over cases."""


def larger_is_better(objective: str) -> bool:
    """Whether an objective is to be made large."""
    if objective in COSTS or Gap.of(objective) is not None:
        return False
    name = CRITERION if objective == PIPELINE else objective
    return Measure.of(name).sign > 0


def objectives_of(config: Config, run: Run, objectives: list[str]) -> tuple[dict[str, float], Units]:
    """The value of every objective of a run that was trained, and ranked where the pipeline is asked for."""
    data = Dataset.load(run.path("data"))
    found: dict[str, float] = {}
    units: Units = {}
    model = _model(config, run, data)
    ranked = Ranked(config, data, model)
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
        elif asked := Gap.of(objective):
            found[objective] = ranked.gap(asked)
        else:
            value, own = _quality(ranked, objective)
            found[objective] = value
            units = units or own
    return found, units


def _quality(ranked: Ranked, objective: str) -> tuple[float, Units]:
    """A metric on the validation part; of rankings on the very cases that sources are tuned on."""
    config, data, model = ranked.config, ranked.data, ranked.model
    watched = Measure.of(objective)
    if config.model.formulation.reads != "items":
        return _texts(config, data, model).measure(model)[objective], {}
    if watched.head is not None:
        validation = Validation(ranked.log, config.model.heads, objective, seed=seed_of(config))
        return validation.measure(model)[objective], {}
    metrics = [metric_named(objective)]
    values = np.asarray(measure(ranked.ranking(longest_list(metrics)), metrics)[objective], dtype=np.float64)
    known = values[np.isfinite(values)]
    units = {"user": ranked.cases.user, "value": values} if values.ndim else {}
    return float(known.mean()) if known.size else float("nan"), units


@dataclass
class Ranked:
    """Validation as a model of items ranks it; ranked once for all that ask for lists no longer."""

    config: Config
    data: Dataset
    model: Any
    known: dict[int, Ranking] = field(default_factory=dict)

    @cached_property
    def log(self) -> Log:
        """All interactions."""
        return Log.of(self.data)

    @cached_property
    def cases(self) -> Cases:
        """Who is asked."""
        return cases_of(self.config, self.log)

    @cached_property
    def counts(self) -> Ints:
        """Interactions of each item in training."""
        return counts_of(self.log)

    def ranking(self, longest: int) -> Ranking:
        """Everybody's, with lists of so many places."""
        if longest not in self.known:
            catalogue = Catalogue(self.counts, self.model.item_vectors())
            ask = self.model.score_next
            self.known[longest] = rank_cases(lambda some: ask(some.histories), self.cases, catalogue, longest)
        return self.known[longest]

    def gap(self, asked: Gap) -> float:
        """A fairness gap of it."""
        metric = metric_named(asked.metric)
        groups = groups_of(self.cases, self.counts, self.data.users, asked.by)
        return gap(self.ranking(longest_list([metric])), groups, metric, asked.metric)


def cases_of(config: Config, log: Log) -> Cases:
    """The cases of validation that objectives of rankings are measured on."""
    return Cases.of(log, "valid", config.evaluate.candidates).sample(MOST_CASES, seed_of(config))


def counts_of(log: Log) -> Ints:
    """Interactions of each item in training."""
    train = log.parts("train")
    return np.bincount(train.item[train.positive], minlength=log.n_items).astype(np.int32)


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
