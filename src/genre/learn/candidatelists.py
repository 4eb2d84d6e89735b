"""Lists of different length side by side, as losses of lists take them."""

from __future__ import annotations

import torch
from torch import Tensor


def lists_of(group: Tensor, chosen: Tensor) -> tuple[Tensor, Tensor]:
    """Rows by list, ``[lists, longest]``, and which of the places are filled.

    Only lists that hold both what was chosen and what was not: of others there is nothing to learn.
    """
    number = torch.unique(group, return_inverse=True)[1]
    counts = torch.bincount(number)
    order = torch.argsort(number, stable=True)
    first = counts.cumsum(0) - counts
    place = torch.arange(len(group)) - first[number[order]]
    at = torch.zeros(len(counts), int(counts.max()) if len(counts) else 0, dtype=torch.long)
    at[number[order], place] = order
    filled = torch.arange(at.shape[1]) < counts[:, None]
    hit = (chosen[at] > 0) & filled
    some = hit.any(1) & (filled & ~hit).any(1)
    return at[some], filled[some]


def divergence(now: Tensor, first: Tensor, filled: Tensor) -> Tensor:
    """Kullback-Leibler divergence of the softmax of each list from that of other scores of it: ``[lists]``."""
    closed = torch.finfo(now.dtype).min
    mine = torch.log_softmax(now.masked_fill(~filled, closed), 1)
    other = torch.log_softmax(first.masked_fill(~filled, closed), 1)
    return (mine.exp() * (mine - other)).masked_fill(~filled, 0.0).sum(1)


def gains_of(chosen: Tensor, order: Tensor, places: int) -> Tensor:
    """NDCG of lists in an order: ``[..., lists]``, from ``chosen`` ``[lists, n]`` and ``order`` ``[..., lists, n]``."""
    width = min(places, chosen.shape[1])
    worth = 1 / torch.log2(torch.arange(width) + 2.0)
    found = chosen.expand(*order.shape[:-1], -1).gather(-1, order)[..., :width]
    best = chosen.sort(-1, descending=True).values[..., :width]
    return (found * worth).sum(-1) / (best * worth).sum(-1)
