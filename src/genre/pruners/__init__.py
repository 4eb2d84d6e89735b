"""Pruners: which trials are not worth finishing, from their results on validation after each epoch.

They are Optuna's, as the searchers are. They are asked where one objective is searched for, which must be what the
training watches (`train.early_stopping.metric`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from optuna.pruners import BasePruner


class Pruner(Protocol):
    """One rule to stop by."""

    def make(self, epochs: int) -> BasePruner:
        """The Optuna pruner, for trials of at most so many epochs over all phases."""
        ...

    def share(self, epochs: int) -> float:
        """What share of such a trial is done in the mean before it is stopped, as far as that is known before."""
        ...

    def spared(self) -> int:
        """How many of the first trials come to their end whatever they do, about."""
        ...


def share_of_rungs(first: int, factor: int, epochs: int) -> float:
    """The share of its epochs that a trial of a halving trains, if one of ``factor`` passes each rung."""
    done, passing, rung = 0.0, 1.0, first
    while rung < epochs:
        done, passing, rung = done + passing * (rung - rung / factor if done else rung), passing / factor, rung * factor
    return min(1.0, (done + passing * (epochs - rung / factor if done else epochs)) / epochs)
