"""Two readings that should agree."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import PositiveFloat

from genre.component import component
from genre.perturbations import Reading

if TYPE_CHECKING:
    from torch import Tensor


@component
class Rdrop:
    """Each batch is read twice with other values dropped, and the heads pay for answering differently.

    It needs dropout: ``model.dropout``, that of the language model, of an adapter. Takes about twice the time of a step
    without it; `fgm` seeks the worst change instead of a random one.
    Liang et al., R-Drop (2021), https://arxiv.org/abs/2106.14448.
    """

    alpha: PositiveFloat = 1.0
    """Weight of the difference: of probabilities the mean of both Kullback-Leibler divergences, of amounts the squared
    difference in standard deviations of the label. Larger makes answers steadier, until they stop depending on the
    text."""

    @property
    def passes(self) -> int:
        return 2

    def losses(self, reading: Reading) -> dict[str, Tensor]:
        from genre.adversarial import apart

        first, second = reading.read(reading.entering), reading.read(reading.entering)
        losses = {name: 0.5 * (loss + second.losses[name]) for name, loss in first.losses.items()}
        one, other = first.said(), second.said()
        for name in one.keys() & other.keys():
            losses[name] = losses[name] + self.alpha * apart(one[name], other[name])
        return losses
