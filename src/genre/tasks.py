"""How well the task heads predict, beside simple baselines of the same label."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from genre.baselines import Fitted, Labelled, fit_baselines
from genre.data import Histories, Log
from genre.heads import Head
from genre.labels import Label
from genre.metrics import Metric, Predictions
from genre.types import Bools, Floats, Ints, Recommender


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

    Rows of one prediction share a bin, as in the metric calibration_error.
    """
    first = np.searchsorted(np.sort(predictions.prediction), predictions.prediction)
    number = first * bins // max(1, len(first))
    groups = [number == one for one in np.unique(number)]
    return [
        {
            "predicted": float(predictions.prediction[rows].mean()),
            "observed": float(predictions.truth[rows].mean()),
            "n": int(rows.sum()),
        }
        for rows in groups
    ]


def _labelled(log: Log, labels: Floats, mask: Bools) -> Labelled:
    rows = mask & np.isfinite(labels)
    return Labelled(log.user[rows], log.item[rows], labels[rows], log.n_users, log.n_items)
