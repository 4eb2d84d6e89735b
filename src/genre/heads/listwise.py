"""Which of a list that was shown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import NonNegativeFloat

from genre.component import component
from genre.heads import Examples, LabelFacts, Language, known

if TYPE_CHECKING:
    from torch import Tensor, nn


@component
class Listwise:
    """Which of what was shown together was chosen: each yes against the noes of its list, such as an impression.

    The log-loss of a softmax over that yes and those noes; every list that has both weighs the same.

    It learns the order within a list and nothing of how often people say yes, so grouped_auc judges it; for a
    probability that can be believed take `binary`. Rows that stand alone teach nothing. It scores rows, so it re-ranks,
    and does not retrieve as `next_item` does.
    Cao et al., ListNet (2007), https://doi.org/10.1145/1273496.1273513, where a list has one yes.
    """

    predicts: ClassVar[Literal["binary"]] = "binary"
    reads: ClassVar[Literal["features"]] = "features"
    label: str = "chosen"
    """A yes or no of a row: ``chosen``, or a comparison, ``action == 'click'``."""
    weight: NonNegativeFloat = 1.0
    """Share of this task in the total loss; larger learns it first."""

    def build(self, dim: int, label: LabelFacts, language: Language | None) -> nn.Module:
        import math

        from genre.layers import Scaled

        share = min(max(label.mean, 1e-4), 1 - 1e-4)
        return Scaled(dim, mean=math.log(share / (1 - share)), std=1.0)

    def loss(self, module: Any, examples: Examples) -> Tensor:
        import torch
        from torch.nn import functional

        rows = known(examples)
        rows = rows[examples.group[rows] >= 0]
        groups, group = examples.group[rows].unique(return_inverse=True)
        yes, none = examples.labels[rows] > 0.5, torch.zeros(len(groups))
        n_yes = none.index_add(0, group, yes.float())
        both = (n_yes > 0) & (n_yes < none.index_add(0, group, torch.ones(len(rows))))
        if not both.any():
            return examples.features.sum() * 0.0
        scores = module(examples.features[rows])
        # Less the largest no of each list, so that no power is too large for a float.
        top = none.scatter_reduce(0, group[~yes], scores.detach()[~yes], "amax", include_self=False)
        noes = none.index_add(0, group[~yes], (scores - top[group])[~yes].exp())
        kept = yes & both[group]
        losses = functional.softplus(noes[group[kept]].log() - (scores - top[group])[kept])
        return (none.index_add(0, group[kept], losses)[both] / n_yes[both]).mean()

    def counts(self, module: Any, examples: Examples) -> float:
        rows = known(examples)
        rows = rows[examples.group[rows] >= 0]
        yes = examples.labels[rows] > 0.5
        both = set(examples.group[rows][yes].tolist()) & set(examples.group[rows][~yes].tolist())
        return float(len(both))

    def predict(self, module: Any, examples: Examples) -> Tensor:
        return module(examples.features).sigmoid()
