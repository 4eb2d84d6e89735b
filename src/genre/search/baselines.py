"""Baselines searched with as many trials as the model has: their own grids first, then between the grids' values."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from genre.component import Slot, describe
from genre.config import Config
from genre.data import Dataset
from genre.prepare import seed_of
from genre.resources import resources_of
from genre.run import Run
from genre.systems import metric_named
from genre.tuning import Tuner, combinations

WIDE = 8
"""A field whose largest value in the grid is so many times its smallest is drawn by its logarithm."""


def search_baseline(config: Config, run: Run, source: str, trials: int, objective: str) -> list[dict[str, Any]]:
    """Settings and the objective's value on validation of at most ``trials`` trials of a source, in their order."""
    data = Dataset.load(run.path("data"))
    tuner = Tuner.of(replace(config, seed=seed_of(config)), run, data, resources_of(config, data, None))
    tuner = replace(tuner, metrics=[metric_named(objective)])
    found = []
    for settings in settings_of(source, trials, config.seed):
        began = time.perf_counter()
        value = tuner.measured(Slot("sources").build({"type": source, **settings})).get(objective)
        found.append({"settings": settings, "value": value, "seconds": round(time.perf_counter() - began, 3)})
    return found


def settings_of(source: str, trials: int, seed: int) -> Iterator[dict[str, Any]]:
    """The defaults, the grid in an order drawn by the seed, then values drawn inside the grid's ranges; no two alike.

    A source without a grid has one trial, and one whose values are all words as many as there are combinations.
    """
    plain = Slot("sources").build(source)
    grid = {name: list(values) for name, values in getattr(plain, "GRID", {}).items()}
    seen: list[dict[str, Any]] = []
    rng = np.random.default_rng([seed, 23])
    first = {name: describe(plain)[name] for name in grid}
    points = list(combinations(plain))
    tries = [first, *(points[i] for i in rng.permutation(len(points)))]
    misses = 0
    while len(seen) < trials and misses < 50:
        settings = tries.pop(0) if tries else {name: _drawn(values, rng) for name, values in grid.items()}
        if settings in seen:
            misses += 1
            continue
        seen.append(settings)
        yield settings


def _drawn(values: list[Any], rng: np.random.Generator) -> Any:
    """A value in the range of some numbers, whole where they are whole; of words one of them."""
    if not all(isinstance(one, (int, float)) and not isinstance(one, bool) for one in values):
        return values[rng.integers(len(values))]
    low, high = min(values), max(values)
    wide = low > 0 and high / low >= WIDE
    drawn = np.exp(rng.uniform(np.log(low), np.log(high))) if wide else rng.uniform(low, high)
    whole = all(isinstance(one, int) for one in values)
    return int(np.clip(round(drawn), low, high)) if whole else float(f"{np.clip(drawn, low, high):.4g}")
