"""Several halvings side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field, PositiveInt

from genre.component import component
from genre.pruners import share_of_rungs

if TYPE_CHECKING:
    from optuna.pruners import BasePruner


@component
class Hyperband:
    """Halvings that begin at different rungs, so that what starts slowly has a chance too; for many trials.

    Needs some dozens of trials until each of its halvings has seen enough. Li et al. (2018),
    https://jmlr.org/papers/v18/16-558.html.
    """

    first: PositiveInt = 1
    """Epochs of the lowest rung; more judge later and save less."""
    factor: Annotated[int, Field(ge=2)] = 3
    """One of so many goes on, for so many times the epochs; larger is harder."""

    def make(self, epochs: int) -> BasePruner:
        from optuna.pruners import HyperbandPruner

        most = max(self.first, epochs)
        return HyperbandPruner(min_resource=self.first, max_resource=most, reduction_factor=self.factor)

    def share(self, epochs: int) -> float:
        firsts = [self.first]
        while firsts[-1] * self.factor <= epochs:
            firsts.append(firsts[-1] * self.factor)
        # Each halving is given about as many epochs as the others, so that those which begin low have more trials.
        shares = [share_of_rungs(first, self.factor, epochs) for first in firsts]
        return len(shares) / sum(1 / share for share in shares)

    def spared(self) -> int:
        return self.factor
