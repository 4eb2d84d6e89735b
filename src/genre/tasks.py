"""How well the task heads predict, beside simple baselines of the same label."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from genre.baselines import Fitted, Labelled, fit_baselines
from genre.data import Histories, Log
from genre.heads import Head
from genre.labels import Label
from genre.metrics import Metric, Predictions
from genre.types import Bools, Floats, Ints, Recommender

Plots = dict[str, dict[str, dict[str, Any]]]
"""By sort of plot, then by head, then by system."""
MOST_LEVELS = 12
"""Values that an amount may have in the test to be drawn as levels that are mistaken for each other."""
MOST_LABELS = 20
"""Labels of a confusion matrix; more cannot be read."""


@dataclass(frozen=True)
class Task:
    """One head and the test rows that have a label for it."""

    name: str
    head: Head
    rows: Labelled
    histories: Histories
    """Of the users who have such rows."""
    owner: Ints
    """Which of these each row belongs to."""
    baselines: dict[str, Fitted]
    classes: Floats | None = None
    """What the columns of a multiclass prediction stand for: the values that training has."""

    @classmethod
    def of(cls, name: str, head: Head, log: Log) -> Task | None:
        """The task of a head, its baselines fitted; None where it has no label, or all test rows have the same.

        All are chosen, for one, where nothing was shown and passed over.
        """
        if head.predicts not in ("binary", "regression", "multiclass"):
            return None
        labels = Label.parse(head.label).evaluate(log)
        parts = {part: log.part == i for i, part in enumerate(("train", "valid", "test"))}
        train, valid, test = (_labelled(log, labels, parts[part]) for part in ("train", "valid", "test"))
        past = _labelled(log, labels, parts["train"] | parts["valid"])
        if not len(test.label) or test.label.min() == test.label.max():
            return None
        users = np.unique(test.user)
        histories = Histories.of(log.before("test"), users)
        owner = np.searchsorted(users, test.user).astype(np.int32)
        classes = np.unique(train.label) if head.predicts == "multiclass" else None
        baselines = fit_baselines(head.predicts, train, valid, past, classes)
        return cls(name, head, test, histories, owner, baselines, classes)

    def ask(self, model: Recommender, block: int = 4096) -> Predictions:
        """What a model predicts of the test rows."""
        rows = range(0, len(self.owner), block)
        answers = [model.predict(self.name, self._histories(i, block), self.rows.item[i : i + block]) for i in rows]
        return self.judged(np.concatenate(answers).astype(np.float32))

    def systems(self, models: dict[str, Recommender]) -> Iterator[tuple[str, Predictions]]:
        """Predictions of every model and every baseline, by name."""
        for name, model in models.items():
            yield name, self.ask(model)
        for name, fitted in self.baselines.items():
            yield name, self.judged(fitted.predict(self.rows.user, self.rows.item))

    def judged(self, predictions: Floats) -> Predictions:
        """Predictions beside the truth."""
        return Predictions(self.rows.label, predictions, self.rows.user, self.classes)

    def metrics(self, metrics: list[Metric]) -> list[Metric]:
        """Those of the metrics that judge this sort of head."""
        return [metric for metric in metrics if metric.needs == self.head.predicts]

    def _histories(self, start: int, block: int) -> Histories:
        return self.histories.take(self.owner[start : start + block])


def reliability(predictions: Predictions, bins: int = 10) -> list[dict[str, float]]:
    """Mean prediction, share that came true and number of rows, over bins of about equally many: a calibration plot.

    Rows of one prediction share a bin, as in the metric calibration_error. Of classes it is the probability of the
    likeliest, and whether that was right: Guo et al. (2017), https://arxiv.org/abs/1706.04599.
    """
    said, true = predictions.prediction, predictions.truth
    if predictions.classes is not None:
        said, true = said.max(1), (said.argmax(1) == predictions.place).astype(np.float32)
    first = np.searchsorted(np.sort(said), said)
    number = first * bins // max(1, len(first))
    groups = [number == one for one in np.unique(number)]
    return [
        {"predicted": float(said[rows].mean()), "observed": float(true[rows].mean()), "n": int(rows.sum())}
        for rows in groups
    ]


def draw(plots: Plots, name: str, head: Head, system: str, predictions: Predictions) -> None:
    """Note what is drawn of a system's head: ``calibration`` of a yes or no and of classes; ``confusion``."""
    if head.predicts in ("binary", "multiclass"):
        plots["calibration"].setdefault(name, {})[system] = reliability(predictions)
    if (counts := confusion(head.predicts, predictions)) is not None:
        plots["confusion"].setdefault(name, {})[system] = counts


def no_plots() -> Plots:
    """Nothing drawn yet."""
    return {"calibration": {}, "confusion": {}}


def confusion(predicts: str, predictions: Predictions) -> dict[str, Any] | None:
    """How many rows of each label were taken for which: ``labels``, and ``counts`` a row a label as it is.

    A yes is a probability of a half or more. An amount is taken for the nearest of the labels, where these are few, as
    the levels of an `ordinal` head or stars are. Beyond the most frequent labels all are one, named "others". None
    where there are no labels to mistake.
    """
    truth = predictions.truth
    if predicts == "binary":
        labels, true, said = np.array([0.0, 1.0]), truth, predictions.prediction >= 0.5
    elif predicts == "multiclass" and predictions.classes is not None:
        known = predictions.place >= 0
        labels, true, said = predictions.classes, predictions.place[known], predictions.prediction.argmax(1)[known]
    elif predicts == "regression" and len(np.unique(truth)) <= MOST_LEVELS:
        labels = np.unique(truth)
        middles = (labels[1:] + labels[:-1]) / 2
        true, said = np.searchsorted(labels, truth), np.searchsorted(middles, predictions.prediction)
    else:
        return None
    counts = np.zeros((len(labels), len(labels)), dtype=np.int64)
    np.add.at(counts, (true.astype(np.int64), said.astype(np.int64)), 1)
    return _of_most(labels, counts)


def _of_most(labels: Floats, counts: NDArray[np.int64]) -> dict[str, Any]:
    """The same, with the rare labels as one."""
    names = [f"{label:g}" for label in labels]
    if len(names) > MOST_LABELS:
        rows = counts.sum(1)
        kept = np.sort(np.argsort(-rows, kind="stable")[: MOST_LABELS - 1])
        to = np.full(len(names), len(kept))
        to[kept] = np.arange(len(kept))
        few = np.zeros((len(kept) + 1, len(kept) + 1), dtype=np.int64)
        np.add.at(few, (to[:, None], to[None, :]), counts)
        names, counts = [*(names[i] for i in kept), "others"], few
    return {"labels": names, "counts": counts.tolist()}


def _labelled(log: Log, labels: Floats, mask: Bools) -> Labelled:
    rows = mask & np.isfinite(labels)
    return Labelled(log.user[rows], log.item[rows], labels[rows], log.n_users, log.n_items)
