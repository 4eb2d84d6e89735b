"""Keeping what the trained layers computed on the way in for the gradient's way back, and computing it twice instead.

The quickstart's fine-tuning after the first epoch, on the same batches, once with `train.graph_tokens` as it ships, and
once with 0, which keeps nothing: memory is then bounded by `train.token_budget` alone, and the layers of each round are
run a second time. The gradients are the same (`tests/test_hidden.py`). Beside an epoch's seconds stand those within the
trained layers, as the rest of the step is the same for both. Needs MovieLens 100K (genre data get movielens-100k).
"""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from genre.clock import Clock
from genre.config import Config
from genre.configfile import load
from genre.data import Dataset
from genre.fitting import Fitter
from speedrows import table
from speedrows.dense import PARTS, STEP, heard
from speedrows.training import small_log

CONFIG = Path(__file__).parent.parent.parent / "configs" / "quickstart.yaml"
WAYS = {"kept (what ships)": None, "computed twice (graph_tokens: 0)": 0}


def epoch(data: Dataset, config: Config, graph_tokens: int | None, layers: list[float]) -> Callable[[], float]:
    """Seconds of an epoch of fine-tuning; those within the trained layers go to ``layers``."""
    if graph_tokens is not None:
        config = dataclasses.replace(config, train=dataclasses.replace(config.train, graph_tokens=graph_tokens))
    fitter, size = Fitter(config, data), config.train.steps_per_round
    batches = list(fitter.log.epoch(config.train.batch_size, np.random.default_rng(7)))
    rounds = [batches[i : i + size] for i in range(0, len(batches), size)]

    def run() -> float:
        found = heard(fitter, rounds, Clock())
        layers.append(sum(found[part][0] for part in PARTS))
        return found[STEP][0]

    return run


def main(repeats: int, users: int, changes: list[str] | None = None) -> dict[str, Any]:
    """Measure and print; so many ``users`` of the log, and ``changes`` to the configuration."""
    data, config = small_log(users), load(CONFIG, changes or [])
    layers: dict[str, list[float]] = {name: [] for name in WAYS}
    ways = [table.Way(name, epoch(data, config, most, layers[name])) for name, most in WAYS.items()]
    rows = table.measure(ways, repeats)
    # The first time of each does not count.
    inner = [within(name, layers[name][1:]) for name in WAYS]
    table.show(f"an epoch of fine-tuning on {data.interactions.num_rows:,} interactions", rows)
    table.show("of which in the trained layers", inner)
    return {"rows": rows, "layers": inner, "interactions": data.interactions.num_rows}


def within(name: str, seconds: list[float]) -> dict[str, Any]:
    """A row about the trained layers."""
    return {"way": name, "seconds": statistics.median(seconds), "range": [min(seconds), max(seconds)]}
