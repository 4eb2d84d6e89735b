"""Only the best of each rung go on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field, PositiveInt

from genre.component import component
from genre.pruners import share_of_rungs

if TYPE_CHECKING:
    from optuna.pruners import BasePruner


@component
class Halving:
    """Asynchronous successive halving: at rungs of ever more epochs only the best share of the trials goes on.

    Saves the most where a first epoch tells good from bad; `median` is more careful, `hyperband` hedges. Li et al.
    (2018), https://arxiv.org/abs/1810.05934.
    """

    first: PositiveInt = 1
    """Epochs of the first rung; more judge later and save less."""
    factor: Annotated[int, Field(ge=2)] = 3
    """One of so many goes on, for so many times the epochs; larger is harder."""

    def make(self, epochs: int) -> BasePruner:
        from optuna.pruners import SuccessiveHalvingPruner

        return SuccessiveHalvingPruner(min_resource=self.first, reduction_factor=self.factor)

    def share(self, epochs: int) -> float:
        return share_of_rungs(self.first, self.factor, epochs)

    def spared(self) -> int:
        return self.factor
