"""Settings of a source, chosen on validation from its own small grid."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from genre.cases import Cases
from genre.clock import times
from genre.component import Slot, describe, name_of
from genre.config import Config
from genre.data import Dataset, Log
from genre.files import digest, write_json
from genre.metrics import Metric
from genre.resources import model_hash, text_settings
from genre.run import Run
from genre.sources import Resources, Source
from genre.systems import Catalogue, longest_list, mean, measure, metric_named, of_source, rank_cases
from genre.types import State

CRITERION = "ndcg@10"
"""The metric that settings are chosen by."""

MOST_CASES = 5000
"""Validation cases that settings are chosen on; more are slower and change little."""


@dataclass(frozen=True)
class Tuned:
    """A source with the settings that were best on validation."""

    source: Source
    trials: list[dict[str, Any]] = field(default_factory=list)
    """``settings`` and the criterion's value of every combination tried."""
    valid: dict[str, float | None] = field(default_factory=dict)
    """Every ranking metric on validation, with the settings chosen."""


@dataclass(frozen=True)
class Tuner:
    """Tries settings: fits on training, ranks validation, keeps what it found in a folder for whoever asks again."""

    log: Log
    """The training part."""
    cases: Cases
    """The validation part."""
    metrics: list[Metric]
    """Measures of rankings to record for the settings chosen."""
    resources: Resources
    folder: Path
    key: Any
    """What else the results depend on, as JSON: data, model, seed."""

    @classmethod
    def of(cls, config: Config, run: Run, data: Dataset, resources: Resources) -> Tuner:
        """The tuner of a run: all stages that ask share what it found."""
        log = Log.of(data)
        cases = Cases.of(log, "valid", config.evaluate.candidates).sample(MOST_CASES, config.seed)
        metrics: list[Metric] = [metric for metric in config.evaluate.metrics if metric.needs == "ranking"]
        key = {
            "data": data.hash,
            "model": model_hash(run),
            "text": text_settings(config),
            "candidates": config.evaluate.candidates,
            "seed": config.seed,
        }
        return cls(log.parts("train"), cases, metrics, resources, run.path("tuning"), key)

    @cached_property
    def catalogue(self) -> Catalogue:
        """What the metrics need to know of the items."""
        return Catalogue.of(self.log, self.resources)

    @times("tune sources")
    def tune(self, source: Source) -> Tuned:
        """``source`` with every field of its grid that stands at its default replaced by the best setting found."""
        path = self.folder / f"{name_of(source).rpartition(':')[2]}-{self._digest(source)[:12]}.json"
        if path.exists():
            found = json.loads(path.read_text(encoding="utf-8"))
            return Tuned(Slot("sources").build(found["source"]), found["trials"], found["valid"])
        tuned = self._search(source)
        write_json(path, asdict(replace(tuned, source=describe(tuned.source))))
        return tuned

    def _digest(self, source: Source) -> str:
        metrics = [describe(metric) for metric in self.metrics]
        grid = {name: list(values) for name, values in getattr(source, "GRID", {}).items()}
        return digest({"source": describe(source), "grid": grid, "metrics": metrics, "key": self.key})

    def _search(self, source: Source) -> Tuned:
        best, best_value, valid = source, -np.inf, {}
        trials: list[dict[str, Any]] = []
        grid = list(combinations(source))
        sources = [Slot("sources").build({**describe(source), **settings}) for settings in grid]
        states = self._fitted(sources)
        for settings, tried in zip(grid, sources, strict=True):
            measured = self._measured(tried, next(states))
            value = measured.get(CRITERION)
            trials.append({"settings": settings, CRITERION: value})
            if value is not None and value > best_value:
                best, best_value, valid = tried, value, measured
        return Tuned(best, trials, valid)

    def measured(self, source: Source) -> dict[str, float | None]:
        """The criterion and the metrics of one setting, fitted on training and measured on validation."""
        return self._measured(source, source.fit(self.log, self.resources))

    def _fitted(self, tried: list[Source]) -> Iterator[State]:
        """Their states, one after another; what settings share is found once by a source that can."""
        together = getattr(tried[0], "fit_each", None)
        if together is not None:
            return together(tried, self.log, self.resources)
        return (source.fit(self.log, self.resources) for source in tried)

    def _measured(self, source: Source, state: State) -> dict[str, float | None]:
        metrics = [metric_named(CRITERION), *self.metrics]
        score = of_source(source, state, self.resources)
        ranking = rank_cases(score, self.cases, self.catalogue, longest_list(metrics))
        return {name: mean(values) for name, values in measure(ranking, metrics).items()}


def combinations(source: Source) -> Iterator[dict[str, Any]]:
    """Settings to try: the grid's values for each of its fields that stands at its default, else nothing but itself."""
    grid = getattr(source, "GRID", {})
    defaults = type(source)()
    free = [f.name for f in fields(source) if f.name in grid and getattr(source, f.name) == getattr(defaults, f.name)]  # type: ignore[arg-type]
    for values in itertools.product(*(grid[name] for name in free)):
        yield dict(zip(free, values, strict=True))
