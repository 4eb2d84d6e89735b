"""Preferences: what was chosen above what was passed over, measured against the supervised model."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import PositiveFloat, PositiveInt

from genre.component import component

if TYPE_CHECKING:
    from torch import Tensor


@component
class Preference:
    """Direct preference optimisation of a `cross` model over what it re-ranks, such as a decoder that says yes or no.

    Its scores of a list are the logits of a softmax, so the log of how much likelier it makes one item than another is
    the difference of their scores, and no text is generated. The first thing to try on a model that re-ranks; where the
    place in the list is what counts, `group_relative`. Rafailov et al., DPO (2023), https://arxiv.org/abs/2305.18290;
    Chen et al., S-DPO (2024), https://arxiv.org/abs/2406.09215.
    """

    beta: PositiveFloat = 0.5
    """The leash: how much of a rise above the supervised score settles a preference; larger stays nearer to it."""
    against: Literal["all", "each"] = "all"
    """Whether what was chosen is told from all that was passed over at once (S-DPO), so that the hardest counts most,
    or from each alone (DPO)."""
    rate: PositiveFloat = 0.3
    """Share of ``train.lr`` that the steps have; larger learns faster and forgets more."""
    epochs: PositiveInt = 3
    """Passes over the training pairs at most."""
    patience: PositiveInt = 1
    """Passes without a better order on validation before it stops."""

    makes: ClassVar[Literal["model"]] = "model"

    def loss(self, now: Tensor, first: Tensor, chosen: Tensor, group: Tensor) -> Tensor:
        import torch
        from torch.nn.functional import logsigmoid

        from genre.learn.candidatelists import lists_of

        at, filled = lists_of(group, chosen)
        if not len(at):
            return now.sum() * 0.0
        risen = self.beta * (now - first)[at]
        hit = (chosen[at] > 0) & filled
        passed = filled & ~hit
        if self.against == "all":
            others = torch.logsumexp(risen.masked_fill(~passed, -torch.inf), 1, keepdim=True)
            lost = -logsigmoid(risen - others)
            return ((lost * hit).sum(1) / hit.sum(1)).mean()
        lost = -logsigmoid(risen[:, :, None] - risen[:, None, :])
        pairs = hit[:, :, None] & passed[:, None, :]
        return ((lost * pairs).sum((1, 2)) / pairs.sum((1, 2))).mean()
