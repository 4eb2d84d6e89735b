"""Several steps uphill, all of them learned from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field, PositiveFloat

from genre.component import component
from genre.perturbations import Reading

if TYPE_CHECKING:
    from torch import Tensor


@component
class Freelb:
    """Adversarial training in several steps from a random place nearby; the loss is the mean over the places passed.

    Finds worse places than `fgm` does with one step, for a pass through the language model each. What is dropped is the
    same in all passes of a batch, so that they differ in the place alone.
    Zhu et al., FreeLB (2020), https://arxiv.org/abs/1909.11764.
    """

    steps: Annotated[int, Field(ge=2)] = 3
    """Places read, the random one first; more find worse ones and take time and memory in proportion."""
    step: PositiveFloat = 0.01
    """Length of a step, as a share of the length of a text's states; larger reaches the bound sooner."""
    epsilon: PositiveFloat = 0.02
    """How far from its own states a text is moved at most, in the same measure; larger asks for more robustness."""

    @property
    def passes(self) -> int:
        return self.steps

    def losses(self, reading: Reading) -> dict[str, Tensor]:
        import torch

        from genre.adversarial import radius, unit, uphill, within
        from genre.noise import Standing

        furthest, step = radius(reading, self.epsilon), radius(reading, self.step)
        random = (2 * torch.rand_like(reading.entering) - 1) * reading.real[:, :, None]
        change = furthest * torch.rand_like(furthest) * unit(random)
        noise = Standing.now()
        found: list[dict[str, Tensor]] = []
        for number in range(self.steps):
            noise.put_back()
            entering = (reading.entering + change).detach().requires_grad_()
            done = reading.read(entering)
            found.append(done.losses)
            if number + 1 < self.steps:
                change = within(change + step * unit(uphill(reading, entering, done)), furthest)
        return {name: torch.stack([losses[name] for losses in found]).mean() for name in found[0]}
