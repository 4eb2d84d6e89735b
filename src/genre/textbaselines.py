"""Simple predictions of a label from a text, which every head of a text stands beside: the mean, and TF-IDF."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, NamedTuple

import numpy as np

from genre.types import Floats

Task = Literal["binary", "regression", "multiclass"]
NGRAMS = {"word": (1, 2), "char_wb": (2, 5)}
"""What texts are counted by, from and to; characters suit languages without spaces and words that are spelt freely."""
MOST_NGRAMS = 100_000
"""The most frequent are kept."""
STRENGTHS = {
    "logistic": (0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0),
    "ridge": (0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0),
    "poisson": (1e-5, 1e-4, 1e-3, 1e-2, 1e-1),
}
"""Regularisation to try: the inverse one, C, of a logistic regression, alpha of the others. The one in the middle
chooses what texts are counted by; from there it goes on as long as validation gets better."""
HELD_OUT = 10
"""Without validation rows every so manieth training row chooses."""
EDGE = 1e-3
"""Probabilities are kept this far from 0 and 1, where a single surprise would cost an unbounded loss."""


@dataclass(frozen=True)
class TextRows:
    """Texts whose label is known."""

    texts: list[str]
    label: Floats
    """An amount; 0 or 1; or the number of a class."""

    def __len__(self) -> int:
        return len(self.texts)

    def where(self, mask: Any) -> TextRows:
        """The rows where ``mask`` is true."""
        return TextRows([text for text, keep in zip(self.texts, mask, strict=True) if keep], self.label[mask])


Predict = Callable[[list[str]], Floats]
"""Of each text an amount or a probability, ``[n]``; of classes the probability of each, ``[n, classes]``."""


class Choice(NamedTuple):
    """One way to be tried on validation."""

    ngrams: str
    strength: float


@dataclass(frozen=True)
class FittedText:
    """A baseline, fitted on training and validation with what was best on validation."""

    predict: Predict
    choice: Choice | None
    """None where there was nothing to choose."""
    valid: float
    """Loss on validation: log-loss, mean squared error, or of counts the Poisson deviance."""

    def __call__(self, texts: list[str]) -> Floats:
        return self.predict(texts)


def fit_text_baselines(
    predicts: Task, train: TextRows, valid: TextRows, count: bool = False, classes: int = 0
) -> dict[str, FittedText]:
    """``global_mean`` (of classes: ``majority``, the share of each), and ``tfidf``, TF-IDF with a linear model.

    ``count`` says that a regression is one of whole numbers from 0. ``classes`` is the number of classes where labels
    beyond those seen can come. ``tfidf`` is left out where all labels are equal or no text holds anything.
    """
    past = TextRows(train.texts + valid.texts, np.concatenate([train.label, valid.label]))
    task = _Task.of(predicts, past.label, count, classes)
    chooses = np.arange(len(past)) >= len(train)
    if not chooses.any():
        every = min(HELD_OUT, max(1, len(past)))
        chooses = np.arange(len(past)) % every == every - 1
    mean = _constant(task, past.label)
    loss = task.loss(_constant(task, past.label[~chooses])(past.where(chooses).texts), past.label[chooses])
    found = {"majority" if predicts == "multiclass" else "global_mean": FittedText(mean, None, loss)}
    best = _best(task, past, chooses)
    if best is not None:
        choice, loss = best
        features = _features(choice.ngrams, tuple(past.texts))
        assert features is not None
        fitted = _fit(task, choice, features.matrix, past.label)
        found["tfidf"] = FittedText(
            lambda texts: fitted(features.transform(texts)) if texts else mean(texts), choice, loss
        )
    return found


@dataclass(frozen=True)
class _Task:
    predicts: Task
    count: bool
    classes: int
    low: float
    high: float
    """The least and the largest label seen; no amount is predicted beyond them."""

    @classmethod
    def of(cls, predicts: Task, label: Floats, count: bool, classes: int) -> _Task:
        """The task of labels; a count of 0 is expected of nothing, so that its likelihood stays finite."""
        low, high = (float(label.min()), float(label.max())) if len(label) else (0.0, 0.0)
        least = EDGE if count else -np.inf
        return cls(predicts, count, max(classes, 1 + int(high)), max(low, least), max(high, least))

    @property
    def model(self) -> str:
        """Which linear model, by its name in `STRENGTHS`."""
        return "logistic" if self.predicts != "regression" else "poisson" if self.count else "ridge"

    def loss(self, predicted: Floats, label: Floats) -> float:
        if not len(label):
            return float("nan")
        if self.predicts == "multiclass":
            return float(-np.log(predicted[np.arange(len(label)), label.astype(int)]).mean())
        if self.predicts == "binary":
            return float(-np.where(label > 0.5, np.log(predicted), np.log1p(-predicted)).mean())
        if self.count:
            surprise = label * np.log(np.where(label > 0, label, 1) / predicted) - label + predicted
            return float(2 * surprise.mean())
        return float(np.square(predicted - label).mean())

    def bounded(self, predicted: Any) -> Floats:
        """Predictions within what is possible, and such that no surprise costs an unbounded loss."""
        if self.predicts == "binary":
            predicted = np.clip(predicted, EDGE, 1 - EDGE)
        elif self.predicts == "multiclass":
            predicted = np.clip(predicted, EDGE, None)
            predicted = predicted / predicted.sum(1, keepdims=True)
        else:
            predicted = np.clip(predicted, self.low, self.high)
        return np.asarray(predicted, dtype=np.float32)


def _constant(task: _Task, label: Floats) -> Predict:
    if task.predicts == "multiclass":
        one = np.bincount(label.astype(int), minlength=task.classes) / max(1, len(label))
        return lambda texts: task.bounded(np.tile(one, (len(texts), 1)))
    mean = float(label.mean()) if len(label) else 0.0
    return lambda texts: task.bounded(np.full(len(texts), mean))


def _best(task: _Task, past: TextRows, chooses: Any) -> tuple[Choice, float] | None:
    """The choice with the least loss on the rows that choose; None where nothing can be learned."""
    label = past.label[~chooses]
    if not len(label) or label.min() == label.max():
        return None
    everything = tuple(past.texts)

    def tried(choice: Choice) -> tuple[Choice, float]:
        features = _features(choice.ngrams, everything)
        assert features is not None
        held, rest = features.matrix[np.flatnonzero(chooses)], features.matrix[np.flatnonzero(~chooses)]
        return choice, task.loss(_fit(task, choice, rest, label)(held), past.label[chooses])

    counted = [ngrams for ngrams in NGRAMS if _features(ngrams, everything) is not None]
    if not counted:
        return None
    grid = STRENGTHS[task.model]
    middle = len(grid) // 2
    best = start = min((tried(Choice(ngrams, grid[middle])) for ngrams in counted), key=lambda one: one[1])
    for further in (grid[middle + 1 :], grid[:middle][::-1]):
        for strength in further:
            one = tried(start[0]._replace(strength=strength))
            if one[1] >= best[1]:
                break
            best = one
        if best is not start:
            break
    return best


@dataclass(frozen=True)
class _Features:
    """Texts as weighted counts; their own labels play no part, so validation may stay among them."""

    matrix: Any
    transform: Callable[[list[str]], Any]


@lru_cache(maxsize=len(NGRAMS))
def _features(ngrams: str, texts: tuple[str, ...]) -> _Features | None:
    """TF-IDF of the texts, kept for the next label of the same ones; None where they hold no n-gram."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    settings: dict[str, Any] = {"dtype": np.float32, "token_pattern": r"\w+" if ngrams == "word" else None}
    made = TfidfVectorizer(
        analyzer=ngrams,
        ngram_range=NGRAMS[ngrams],
        min_df=2 if len(texts) > 100 else 1,
        max_features=MOST_NGRAMS,
        sublinear_tf=True,
        **settings,
    )
    try:
        return _Features(made.fit_transform(texts), made.transform)
    except ValueError:  # empty vocabulary
        return None


def _fit(task: _Task, choice: Choice, matrix: Any, label: Floats) -> Callable[[Any], Floats]:
    from sklearn.linear_model import LogisticRegression, PoissonRegressor, Ridge

    if task.model == "logistic":
        model = LogisticRegression(C=choice.strength, max_iter=1000).fit(matrix, label.astype(int))
        return lambda rows: task.bounded(_probabilities(task, model.classes_, model.predict_proba(rows)))
    if task.model == "poisson":
        model = PoissonRegressor(alpha=choice.strength, max_iter=1000).fit(matrix, label)
    else:
        model = Ridge(alpha=choice.strength).fit(matrix, label)
    return lambda rows: task.bounded(model.predict(rows))


def _probabilities(task: _Task, known: Any, found: Any) -> Any:
    if task.predicts == "binary":
        return found[:, list(known).index(1)]
    every = np.zeros((len(found), task.classes))
    every[:, known] = found
    return every
