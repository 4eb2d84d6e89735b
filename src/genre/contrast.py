"""Texts of one class near each other, texts of different classes apart: the loss of a contrastive start."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def pair_loss(vectors: Tensor, labels: Tensor) -> Tensor:
    """Squared error of the cosine of each pair of texts, 1 being right for one class and 0 for two.

    The two sorts of pairs weigh the same, however many there are of each. Without a pair it is zero.
    Tunstall et al., SetFit (2022), https://arxiv.org/abs/2209.11055.
    """
    unit = nn.functional.normalize(vectors, dim=-1)
    first, second = torch.triu_indices(len(vectors), len(vectors), offset=1).unbind()
    cosine, same = (unit[first] * unit[second]).sum(-1), labels[first] == labels[second]
    sorts = [(cosine[pairs] - target).square().mean() for pairs, target in ((same, 1.0), (~same, 0.0)) if pairs.any()]
    return torch.stack(sorts).mean() if sorts else vectors.sum() * 0.0
