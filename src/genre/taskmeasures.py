"""Measures of what heads predict, with intervals, and what an evaluation cost: shared by both sorts of evaluation."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from genre.comparisons import Measured, Resamples, compare
from genre.metrics import Metric, Predictions
from genre.run import Run

ROW_BUDGET = 20_000_000
"""Rows that a measure without a mean (rmse, label_auc) may go through in all of its resamples."""


def measures_of_task(
    predictions: Predictions, judges: list[Metric], resamples: Resamples
) -> Iterator[tuple[str, Measured]]:
    """Every value of the metrics, with what it would have been of other people."""
    rows = len(predictions.truth)
    most = max(100, min(resamples.n, ROW_BUDGET // max(1, rows)))
    for judge in judges:
        for key, values in judge.measure(predictions).items():
            if not np.ndim(values):
                yield key, resamples.of_rows(lambda at, j=judge, k=key: _on_rows(j, k, predictions, at), most)
                continue
            # Values by row are drawn by user; values by group are groups of rows already.
            units = np.arange(len(values), dtype=np.int32)
            own = resamples if len(values) == rows else Resamples(units, resamples.n, resamples.seed)
            yield key, own.means({key: values})[key]


def _on_rows(metric: Metric, key: str, predictions: Predictions, rows: NDArray[np.int64]) -> float:
    """A measure of some rows, which may come more than once; they are in order, copies side by side."""
    group = predictions.group[rows]
    if metric.needs == "tokens":
        # A text that was drawn twice is two texts, each with its tokens in order, not one with every token doubled.
        copy = np.arange(len(rows)) - np.searchsorted(rows, rows)
        order = np.lexsort((rows, copy))
        rows, copy = rows[order], copy[order]
        group = predictions.group[rows] * (int(copy.max(initial=0)) + 1) + copy
    some = replace(predictions, truth=predictions.truth[rows], prediction=predictions.prediction[rows], group=group)
    return float(metric.measure(some)[key])


def directions_of(head: str, predictions: Predictions, judges: list[Metric]) -> dict[str, bool]:
    """Whether larger is better, for each measure of a head that has a better."""
    found = {}
    for judge in judges:
        if judge.larger_is_better is not None:
            found |= {f"{head}.{key}": bool(judge.larger_is_better) for key in judge.measure(predictions)}
    return found


def paired(
    measured: dict[str, dict[str, Measured]], sides: tuple[str, ...], directions: dict[str, bool]
) -> Iterator[dict[str, Any]]:
    """Each of ``sides`` beside every other system that has the same measure; ``sides`` are not compared upwards."""
    for a in sides:
        for b, theirs in measured.items():
            if b == a or b in sides[: sides.index(a)]:
                continue
            for key, mine in measured.get(a, {}).items():
                if key in theirs and key in directions:
                    found = compare(mine, theirs[key], directions[key])
                    if found is not None:
                        yield {"a": a, "b": b, "metric": key, **found}


def cost(run: Run, seconds: float, by_system: dict[str, float]) -> dict[str, Any]:
    """What the stages of a run took, and its training."""
    stages = run.manifest["stages"]
    training = run.path("model") / "training.json"
    facts = json.loads(training.read_text(encoding="utf-8")) if training.exists() else {}
    return {
        "train_seconds": facts.get("seconds"),
        "peak_rss_mb": max((stage.get("peak_rss_mb", 0) for stage in stages.values()), default=None),
        "trainable_parameters": facts.get("trainable_parameters"),
        "stages": {name: {k: s[k] for k in ("seconds", "peak_rss_mb")} for name, s in stages.items()},
        "evaluate_seconds": round(seconds, 2),
        "seconds_by_system": by_system,
        "training": facts,
    }
