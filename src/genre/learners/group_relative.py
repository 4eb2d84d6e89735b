"""Lists drawn from the model, each rewarded by its order and judged beside the others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt

from genre.component import component

if TYPE_CHECKING:
    from torch import Tensor


@component
class GroupRelative:
    """Group-relative policy gradient of a `cross` model: what orders a list better than its other draws gets likelier.

    Orders of what was retrieved are drawn from the softmax of the scores, place by place (Plackett-Luce); the reward is
    the NDCG of what was chosen, the advantage what a draw has above the mean of its group, by its deviation. Each draw
    makes one step, so nothing is clipped. It goes for the measure itself where `preference` goes for pairs, and is
    noisier. Shao et al., GRPO (2024), https://arxiv.org/abs/2402.03300.
    """

    beta: NonNegativeFloat = 0.05
    """The leash: what a nat of divergence (KL) from the supervised softmax costs; larger stays nearer to it."""
    samples: Annotated[int, Field(ge=2)] = 16
    """Orders drawn of each list; more are steadier and cost little, as the scores are read once."""
    places: PositiveInt = 10
    """Places that are drawn and rewarded; 1 is one item."""
    temperature: PositiveFloat = 1.0
    """What scores are divided by; larger tries more."""
    rate: PositiveFloat = 0.3
    """Share of ``train.lr`` that the steps have; larger learns faster and forgets more."""
    epochs: PositiveInt = 3
    """Passes over the training pairs at most."""
    patience: PositiveInt = 1
    """Passes without a better order on validation before it stops."""

    makes: ClassVar[Literal["model"]] = "model"

    def loss(self, now: Tensor, first: Tensor, chosen: Tensor, group: Tensor) -> Tensor:
        import torch

        from genre.learn.candidatelists import divergence, gains_of, lists_of

        at, filled = lists_of(group, chosen)
        if not len(at):
            return now.sum() * 0.0
        scores = (now / self.temperature)[at].masked_fill(~filled, CLOSED)
        with torch.no_grad():
            noise = -torch.empty(self.samples, *scores.shape).exponential_().log()
            order = (scores + noise).argsort(-1, descending=True)
            reward = gains_of(chosen.clamp(min=0)[at] * filled, order, self.places)
            advantage = (reward - reward.mean(0)) / (reward.std(0) + 1e-4)
        drawn = scores.expand_as(order).gather(-1, order)
        left = drawn.flip(-1).logcumsumexp(-1).flip(-1)
        real = filled.expand_as(order).gather(-1, order)
        said = ((drawn - left) * real)[..., : self.places].sum(-1)
        apart = divergence(scores, (first / self.temperature)[at], filled)
        return -(advantage * said).mean() + self.beta * apart.mean()


CLOSED = -1e9
"""Score of a place that is not filled."""
