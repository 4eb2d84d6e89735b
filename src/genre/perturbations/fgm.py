"""One step uphill."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, PositiveFloat

from genre.component import component
from genre.perturbations import Reading

if TYPE_CHECKING:
    from torch import Tensor


@component
class Fgm:
    """Adversarial training: each batch as it is, and moved a little to where its loss rises fastest.

    Smooths what a model says around the texts that it has seen: for few or noisy labels. `freelb` looks harder for the
    worst place and takes longer; `rdrop` needs dropout and no gradient of its own.
    Miyato, Dai and Goodfellow (2017), https://arxiv.org/abs/1605.07725. Moved are the states that enter the trained
    layers rather than word vectors, so that the layers below are still computed once.
    """

    epsilon: PositiveFloat = 0.02
    """How far a text is moved, as a share of the length of its states; larger asks for more robustness, until what was
    moved no longer means what it did."""
    norm: Literal["l2", "sign"] = "l2"
    """Where to: along the gradient, or along its signs, which moves every value alike (Goodfellow et al. 2015,
    https://arxiv.org/abs/1412.6572)."""
    share: Annotated[float, Field(gt=0, le=1)] = 0.5
    """Weight of the moved batch in the loss, the rest is the batch as it is; larger cares less for the latter."""

    @property
    def passes(self) -> int:
        return 2

    def losses(self, reading: Reading) -> dict[str, Tensor]:
        from genre.adversarial import radius, unit, uphill

        entering = reading.entering.detach().requires_grad_()
        plain = reading.read(entering)
        direction = uphill(reading, entering, plain)
        step = radius(reading, self.epsilon) * unit(direction.sign() if self.norm == "sign" else direction)
        moved = reading.read(reading.entering + step)
        return {name: (1 - self.share) * loss + self.share * moved.losses[name] for name, loss in plain.losses.items()}
