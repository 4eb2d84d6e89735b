"""Simple predictions of a label, which every task head stands beside: means, and means by user and item."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from genre.types import Bools, Floats, Ints

Task = Literal["binary", "regression", "multiclass"]
SHRINKAGE = (0.0, 1.0, 3.0, 10.0, 30.0, 100.0)
"""Strengths to try: so many imagined rows of the overall mean are added to each user's and item's own."""
EDGE = 1e-3
"""Probabilities are kept this far from 0 and 1, where a single surprise would cost an unbounded loss."""


@dataclass(frozen=True)
class Labelled:
    """Rows whose label is known."""

    user: Ints
    item: Ints
    label: Floats
    n_users: int
    n_items: int

    def where(self, mask: Bools) -> Labelled:
        """The rows where ``mask`` is true."""
        return replace(self, user=self.user[mask], item=self.item[mask], label=self.label[mask])


Predict = Callable[[Ints, Ints], Floats]
"""Predictions for pairs of users and items; of classes a column each."""
Fit = Callable[[Labelled, float], Predict]
"""Learns from rows, with a strength of shrinkage."""


def global_mean(rows: Labelled, shrinkage: float) -> Predict:
    """The mean of all labels: what knowing nobody and nothing predicts."""
    mean = _mean(rows.label)
    return lambda user, item: np.full(len(user), mean, dtype=np.float32)


def user_mean(rows: Labelled, shrinkage: float) -> Predict:
    """Each user's own mean, shrunk to the overall one: of a like or a click, the share in their history."""
    mean = _mean(rows.label)
    offsets = _offsets(rows.label - mean, rows.user, rows.n_users, shrinkage)
    return lambda user, item: (mean + offsets[user]).astype(np.float32)


def item_mean(rows: Labelled, shrinkage: float) -> Predict:
    """Each item's mean, shrunk to the overall one."""
    mean = _mean(rows.label)
    offsets = _offsets(rows.label - mean, rows.item, rows.n_items, shrinkage)
    return lambda user, item: (mean + offsets[item]).astype(np.float32)


def user_item_bias(rows: Labelled, shrinkage: float, rounds: int = 10) -> Predict:
    """Overall mean plus an offset a user and an offset an item, fitted in turns: who is generous, what is liked.

    Koren, Factorization meets the neighborhood (2008), https://doi.org/10.1145/1401890.1401944, section 2.1.
    """
    mean = _mean(rows.label)
    of_user, of_item = np.zeros(rows.n_users), np.zeros(rows.n_items)
    for _ in range(rounds):
        of_item = _offsets(rows.label - mean - of_user[rows.user], rows.item, rows.n_items, shrinkage)
        of_user = _offsets(rows.label - mean - of_item[rows.item], rows.user, rows.n_users, shrinkage)
    return lambda user, item: (mean + of_user[user] + of_item[item]).astype(np.float32)


BASELINES: dict[str, Fit] = {
    "global_mean": global_mean,
    "user_mean": user_mean,
    "item_mean": item_mean,
    "user_item_bias": user_item_bias,
}


@dataclass(frozen=True)
class Fitted:
    """A baseline fitted with the strength of shrinkage that was best on validation."""

    predict: Predict
    shrinkage: float
    valid: float
    """Loss on validation: log-loss of a yes or no and of classes, mean squared error of an amount."""


def fit_baselines(
    task: Task, train: Labelled, valid: Labelled, past: Labelled, classes: Floats | None = None
) -> dict[str, Fitted]:
    """Every baseline: shrinkage chosen by training on ``train`` and judging on ``valid``, then fitted on ``past``.

    Of ``classes`` each predicts a share, ``[rows, classes]``: a mean of ones and zeros, like that of a yes or no.
    """
    found = {}
    if classes is not None:
        valid = valid.where(np.isin(valid.label, classes))
        valid = replace(valid, label=np.searchsorted(classes, valid.label).astype(np.float32))
    for name, plain in BASELINES.items():
        fit = plain if classes is None else _of_classes(plain, classes)
        grid = SHRINKAGE if name != "global_mean" else (0.0,)
        losses = [_loss(task, _predict(task, fit(train, s), valid), valid.label) for s in grid]
        best = int(np.argmin(losses))
        found[name] = Fitted(_bounded(task, fit(past, grid[best])), grid[best], losses[best])
    return found


def _of_classes(fit: Fit, classes: Floats) -> Fit:
    def shares(rows: Labelled, shrinkage: float) -> Predict:
        parts = [fit(replace(rows, label=(rows.label == one).astype(np.float32)), shrinkage) for one in classes]

        def predict(user: Ints, item: Ints) -> Floats:
            found = np.stack([np.clip(part(user, item), EDGE, 1) for part in parts], 1)
            return (found / found.sum(1, keepdims=True)).astype(np.float32)

        return predict

    return shares


def _predict(task: Task, predict: Predict, rows: Labelled) -> Floats:
    return _bounded(task, predict)(rows.user, rows.item)


def _bounded(task: Task, predict: Predict) -> Predict:
    if task != "binary":
        return predict
    return lambda user, item: np.clip(predict(user, item), EDGE, 1 - EDGE)


def _loss(task: Task, predicted: Floats, label: Floats) -> float:
    if not len(label):
        return 0.0
    if task == "regression":
        return float(np.square(predicted - label).mean())
    if task == "multiclass":
        return float(-np.log(predicted[np.arange(len(label)), label.astype(int)]).mean())
    return float(-np.where(label > 0.5, np.log(predicted), np.log1p(-predicted)).mean())


def _mean(label: Floats) -> float:
    return float(label.mean()) if len(label) else 0.0


def _offsets(residual: NDArray[np.floating], group: Ints, n: int, shrinkage: float) -> NDArray[np.float64]:
    """Mean residual of each group, with ``shrinkage`` imagined rows of zero; zero for a group without rows."""
    sums = np.bincount(group, residual, minlength=n)
    counts = np.bincount(group, minlength=n) + shrinkage
    return np.divide(sums, counts, out=np.zeros(n), where=counts > 0)
