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
