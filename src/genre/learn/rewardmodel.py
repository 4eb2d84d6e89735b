"""A reward model for judging by logs: linear, and cross-fitted, so that it never saw the person it is asked of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from genre.estimators import Doubles
from genre.types import Ints

if TYPE_CHECKING:
    from genre.learn.decisions import Decisions

SHRINK = 20.0
"""Rows of an item that its own mean must outweigh."""


@dataclass(frozen=True)
class Situation:
    """``n`` slates, each of ``m`` items that might have been shown."""

    people: Doubles
    """``[n, d]``."""
    items: Doubles
    """``[m, d]``: times those of people, a number each, they are what is known of the two together."""
    heads: Doubles
    """``[n, m, h]``: what the model's heads predict."""
    person: Ints
    """``[n]``: who each slate is for."""

    def of(self, n: Any, item: Any) -> Doubles:
        """What is known of some pairs: ``[pairs, d + h]``."""
        return np.concatenate([self.people[n] * self.items[item], self.heads[n, item]], 1)


@dataclass(frozen=True)
class RewardModel:
    """Ridge regression on what is known of a pair, an item's own mean and the place; one for each fold of people."""

    fold: NDArray[np.int64]
    """``[n]``: the model that has not seen the person of each slate."""
    weights: Doubles
    """``[folds, d + h]``."""
    effects: Doubles
    """``[folds, m]``: what an item earns beside that, with the mean of all."""
    places: Doubles
    """``[folds, k]``: what a place adds."""
    error: float
    """Root of the mean squared error on people it has not seen."""
    spread: float
    """Standard deviation of the rewards, to compare with."""

    @classmethod
    def of(cls, found: Decisions) -> RewardModel:
        """Learn from the slates of a log, over people in turn."""
        slate, place = np.nonzero(found.shown)
        item, reward = found.item[slate, place], found.reward[slate, place]
        return cls.fit(found.known, slate, item, place, reward, found.item.shape[1])

    @classmethod
    def fit(
        cls,
        known: Situation,
        slate: Any,
        item: Any,
        place: Any,
        reward: Doubles,
        k: int,
        reg: float = 10.0,
        folds: int = 5,
    ) -> RewardModel:
        """Learn from shown pairs: of each its ``slate``, ``item``, ``place`` and ``reward``."""
        names, number = np.unique(known.person, return_inverse=True)
        folds = max(2, min(folds, len(names)))
        fold = (np.random.default_rng(0).permutation(len(names)) % folds)[number]
        rows, of_row = known.of(slate, item), fold[slate]
        m, width = len(known.items), known.items.shape[1] + known.heads.shape[2]
        weights, effects, places = np.zeros((folds, width)), np.zeros((folds, m)), np.zeros((folds, k))
        said = np.zeros(len(reward))
        for one in range(folds):
            train = of_row != one if len(names) > 1 else np.ones(len(reward), dtype=bool)
            mean = float(reward[train].mean()) if train.any() else 0.0
            places[one] = _shrunk(place[train], reward[train] - mean, k)
            left = reward[train] - mean - places[one][place[train]]
            effects[one] = mean + _shrunk(item[train], left, m)
            left = reward[train] - places[one][place[train]] - effects[one][item[train]]
            x = rows[train]
            gram = x.T @ x + reg * np.eye(width)
            weights[one] = np.linalg.solve(gram, x.T @ left)
            out = of_row == one
            said[out] = rows[out] @ weights[one] + effects[one][item[out]] + places[one][place[out]]
        error = float(np.sqrt(np.square(reward - said).mean())) if len(reward) else 0.0
        return cls(fold, weights, effects, places, error, float(reward.std()) if len(reward) else 0.0)

    def predict(self, known: Situation, some: Any) -> Doubles:
        """Reward of every item at the first place, for some of the slates: ``[some, m]``."""
        fold, d = self.fold[some], known.items.shape[1]
        weights = self.weights[fold]
        said = (known.people[some] * weights[:, :d]) @ known.items.T + self.effects[fold] + self.places[fold, :1]
        return said + np.einsum("nmh,nh->nm", known.heads[some], weights[:, d:])

    def below(self, some: Any) -> Doubles:
        """What is added to that at each place: ``[some, k]``."""
        return self.places[self.fold[some]] - self.places[self.fold[some], :1]


def _shrunk(number: Any, values: Doubles, count: int) -> Doubles:
    """Mean of the values by number, drawn to 0 where there are few."""
    total, rows = np.bincount(number, values, count), np.bincount(number, minlength=count)
    return total / (rows + SHRINK)
