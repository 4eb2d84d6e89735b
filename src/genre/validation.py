"""How good a model in training is on the validation part."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from genre.cases import Cases
from genre.component import Slot
from genre.data import Histories, Log
from genre.heads import Head
from genre.metrics import Metric, Predictions, Ranking
from genre.model import labels_of
from genre.parallel import team
from genre.ranking import ranks, top_lists
from genre.types import Floats, Ints, Recommender

WATCHED = {
    "ranking": "ndcg@10",
    "binary": "label_auc",
    "regression": "rmse",
    "multiclass": "accuracy",
    "tokens": "entity_f1",
    "text": "perplexity",
}
"""The metric that learning curves show for each sort of head."""


@dataclass(frozen=True)
class Measure:
    """One number to watch: ``ndcg@10`` of the ranking, or ``rating.rmse`` of a head."""

    name: str
    head: str | None
    metric: Metric
    key: str
    """The metric's own name for it."""

    @classmethod
    def of(cls, name: str) -> Measure:
        """Read ``metric@k`` or ``head.metric``."""
        head, dot, key = name.rpartition(".")
        return cls(name, head if dot else None, Slot("metrics").build(key), key)

    @property
    def sign(self) -> float:
        """1 where larger is better, -1 where smaller is."""
        return -1.0 if self.metric.larger_is_better is False else 1.0


class Predictor(Recommender, Protocol):
    """A recommender that knows its heads."""

    @property
    def heads(self) -> dict[str, Head]: ...


class Validation:
    """The validation part of a log: what was done next, seen from each user's history in training."""

    def __init__(self, log: Log, heads: dict[str, Head], metric: str, most_users: int = 5000, seed: int = 0) -> None:
        names = [WATCHED["ranking"]] if any(head.predicts == "ranking" for head in heads.values()) else []
        asked = {name: head.predicts for name, head in heads.items() if head.predicts not in ("ranking", "nothing")}
        names += [f"{name}.{WATCHED[predicts]}" for name, predicts in asked.items()]
        self.measures = [Measure.of(name) for name in dict.fromkeys([metric, *names])]
        ranked = any(measure.head is None for measure in self.measures)
        self.cases = Cases.of(log, "valid").sample(most_users, seed) if ranked else None
        self.rows = log.parts("valid")
        users, self.owner = np.unique(self.rows.user, return_inverse=True)
        self.histories = Histories.of(log.before("valid"), users.astype(np.int32))
        self.labels = labels_of(self.rows, heads)
        train = log.parts("train")
        asked = {
            name: values for name, values in labels_of(train, heads).items() if heads[name].predicts == "multiclass"
        }
        self.classes = {name: np.unique(values[~np.isnan(values)]) for name, values in asked.items()}
        self.counts = np.bincount(train.item[train.positive], minlength=log.n_items).astype(np.int32)

    def measure(self, model: Predictor) -> dict[str, float]:
        """Value of every watched measure."""
        results: dict[str, float] = {}
        if self.cases is not None:
            outcome = self._ranking(model, self.cases)
            results |= {m.name: mean_of(m, outcome) for m in self.measures if m.head is None}
        for m in self.measures:
            if m.head is not None:
                results[m.name] = mean_of(m, self._predictions(model, m.head))
        return results

    def _ranking(self, model: Recommender, cases: Cases) -> Ranking:
        found: list[Ints] = []
        lists: list[Ints] = []
        candidates: list[Ints] = []
        own = cases if team().alone else cases.take(team().stretch(len(cases)))
        with team().apart():
            for block in own.blocks(1 << 22):
                allowed, scores = block.allowed(), model.score_next(block.histories)
                found += ranks(scores, allowed, block.targets)
                lists.append(top_lists(scores, allowed, 10))
                candidates.append(allowed.sum(1).astype(np.int32))
        found, lists, candidates = (team().chained(one) for one in (found, lists, candidates))
        return Ranking(found, np.concatenate(candidates), np.concatenate(lists), self.counts, model.item_vectors())

    def _predictions(self, model: Recommender, head: str) -> Predictions:
        known = np.flatnonzero(~np.isnan(self.labels[head]))
        own = known[team().stretch(len(known))]
        with team().apart():
            said: Floats = model.predict(head, self.histories.take(self.owner[own]), self.rows.item[own])
        predicted = np.concatenate(team().joined(said))
        classes = self.classes.get(head)
        return Predictions(self.labels[head][known], predicted, self.rows.user[known], classes)


def mean_of(measure: Measure, outcome: Ranking | Predictions) -> float:
    """A measure's mean over the units where it is defined."""
    values = measure.metric.measure(outcome)[measure.key]
    return float(np.nanmean(values)) if np.isfinite(values).any() else float("nan")
