"""How good a model of texts is on the validation part while it is trained."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from genre.heads import Head, LabelFacts
from genre.metrics import Predictions
from genre.sheets import IGNORED, Rows, Sheet
from genre.textmodel import Read, TrainedTexts
from genre.types import Floats, Ints
from genre.validation import WATCHED, Measure, mean_of


class TextValidation:
    """The texts of the validation part, asked of the model as it is."""

    def __init__(self, sheet: Sheet, heads: dict[str, Head], metric: str, most_bytes: float, seed: int = 0) -> None:
        rows = np.arange(len(sheet))
        if len(rows) > MOST_TEXTS:
            rows = np.sort(np.random.default_rng(seed).choice(rows, MOST_TEXTS, replace=False))
        self.sheet, self.most_bytes = sheet.take(rows), most_bytes
        names = [f"{name}.{WATCHED[head.predicts]}" for name, head in heads.items() if head.predicts in WATCHED]
        self.measures = [Measure.of(name) for name in dict.fromkeys([metric, *names])]
        self._read: tuple[tuple[int, ...], list[tuple[Rows, Read]]] | None = None

    def measure(self, model: TrainedTexts) -> dict[str, float]:
        """Value of every watched measure."""
        answers = model.answers_of(self.sheet, self._readings(model))
        results = {}
        for one in self.measures:
            assert one.head is not None
            outcome = judged(model.heads[one.head], one.head, self.sheet, answers[one.head], model.model.labels)
            results[one.name] = mean_of(one, outcome)
        return results

    def _readings(self, model: TrainedTexts) -> Iterable[tuple[Rows, Read]]:
        """The texts as the language model reads them; kept while it is held still, if a vector each is enough."""
        if model.model.reads_tokens:
            return model.readings(self.sheet, self.most_bytes)
        if self._read is None or self._read[0] != model.version:
            self._read = model.version, list(model.readings(self.sheet, self.most_bytes))
        return self._read[1]


MOST_TEXTS = 5000
"""Validation texts that are watched; more are slower and steady little."""


def judged(
    head: Head, name: str, sheet: Sheet, answers: list[Floats], facts: dict[str, LabelFacts], rows: Rows | None = None
) -> Predictions:
    """What a head said beside the truth, for the texts of a sheet that have a label."""
    known = np.flatnonzero(~np.isnan(sheet.labels[name]))
    known = known if rows is None else np.intersect1d(known, rows)
    group = groups(sheet)[known]
    if head.predicts == "tokens":
        return _of_tokens(sheet.token_labels[name], answers, known)
    said = np.array([answers[i] for i in known], dtype=np.float32)
    classes = np.array(facts[name].classes, dtype=np.float32) if head.predicts == "multiclass" else None
    return Predictions(sheet.labels[name][known], said, group, classes)


def groups(sheet: Sheet) -> Ints:
    """What grouped metrics compare within: the list shown, else the person."""
    if sheet.asked is None:
        return np.arange(len(sheet), dtype=np.int32)
    return np.where(sheet.asked.group >= 0, sheet.asked.group, sheet.asked.user).astype(np.int32)


def _of_tokens(labels: list[np.ndarray], answers: list[Floats], known: Rows) -> Predictions:
    """One row a token that has a label; its group is the text."""
    truth, said, group = [], [], []
    for i in known:
        real = labels[i] != IGNORED
        truth.append(labels[i][real])
        said.append(answers[i][: len(real)][real].argmax(-1))
        group.append(np.full(int(real.sum()), i))
    joined = [np.concatenate(one) if one else np.zeros(0) for one in (truth, said, group)]
    return Predictions(joined[0].astype(np.float32), joined[1].astype(np.float32), joined[2].astype(np.int32))
