"""Torch modules that components build from."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint


class AttentionPooling(nn.Module):
    """A learned weighted mean of token vectors: ``[b, l, h] -> [b, h]``."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.score = nn.Linear(hidden, 1)
        nn.init.zeros_(self.score.weight)
        nn.init.zeros_(self.score.bias)

    def forward(self, states: Tensor, real: Tensor | None) -> Tensor:
        scores = self.score(states).squeeze(-1)
        if real is not None:
            scores = scores.masked_fill(~real, -torch.inf)
        return (scores.softmax(-1)[..., None] * states).sum(1)


class MeanPooling(nn.Module):
    """The mean of the real tokens' vectors: ``[b, l, h] -> [b, h]``."""

    def forward(self, states: Tensor, real: Tensor | None) -> Tensor:
        if real is None:
            return states.mean(1)
        weights = real[..., None].float()
        return (states * weights).sum(1) / weights.sum(1)


class FirstPooling(nn.Module):
    """The first token's vector: ``[b, l, h] -> [b, h]``."""

    def forward(self, states: Tensor, real: Tensor | None) -> Tensor:
        return states[:, 0]


class LastPooling(nn.Module):
    """The last real token's vector, which in a decoder has read all others: ``[b, l, h] -> [b, h]``."""

    def forward(self, states: Tensor, real: Tensor | None) -> Tensor:
        if real is None:
            return states[:, -1]
        return states[torch.arange(len(states)), real.sum(1) - 1]


class CausalMean(nn.Module):
    """States that are the mean of the events so far, after a learned start; see `genre.users.UserEncoder`."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.start = nn.Parameter(torch.zeros(dim))
        self.norm = nn.LayerNorm(dim)
        self.out = nn.Linear(dim, dim)

    def forward(self, events: Tensor, mask: Tensor) -> Tensor:
        start = self.start.expand(len(events), 1, -1)
        total = torch.cat([start, events * mask[..., None]], 1).cumsum(1)
        ones = torch.ones_like(mask[:, :1])
        count = torch.cat([ones, mask], 1).float().cumsum(1)
        return self.out(self.norm(total / count[..., None]))


class CausalTransformer(nn.Module):
    """Self-attention in which an event sees itself and earlier ones; see `genre.users.UserEncoder`.

    Order enters as a learned bias for how many steps ago an event was, so that a history longer than any in training
    is read like the others. Raffel et al., T5 (2020), https://arxiv.org/abs/1910.10683.
    """

    def __init__(self, dim: int, layers: int, heads: int, max_length: int, dropout: float) -> None:
        super().__init__()
        self.start = nn.Parameter(torch.randn(dim) * 0.02)
        self.norm = nn.LayerNorm(dim)
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.ModuleList([CausalBlock(dim, heads, dropout) for _ in range(layers)])
        self.out = nn.LayerNorm(dim)
        self.buckets = distance_buckets(max_length + 1)

    def forward(self, events: Tensor, mask: Tensor) -> Tensor:
        start = self.start.expand(len(events), 1, -1)
        states = self.dropout(self.norm(torch.cat([start, events], 1)))
        length = states.shape[1]
        steps = torch.arange(length)
        ago = steps[:, None] - steps
        buckets, future = self.buckets[ago.clamp(min=0)], ago < 0
        # Real events come first, so the causal mask alone keeps padding from real states.
        for block in self.blocks:
            states = block(states, buckets, future)
        return self.out(states)


NEAR, FAR = 16, 16
"""Buckets of distance: one a step for the nearest, then ever wider ones."""


def distance_buckets(longest: int) -> Tensor:
    """Bucket of every distance below ``longest``: ``[longest]``, each below ``NEAR + FAR``."""
    distance = torch.arange(longest).float()
    wide = (distance / NEAR).clamp(min=1).log() / max(torch.tensor(longest / NEAR).log().item(), 1e-6)
    return torch.where(distance < NEAR, distance, NEAR + (wide * (FAR - 1)).clamp(max=FAR - 1)).long()


class CausalBlock(nn.Module):
    """One layer of causal self-attention and a feed-forward net, normalised before each: ``[b, l, dim] -> same``.

    Dropout is on what each adds, not on attention weights or inner values: those draws took a third of a step.
    """

    def __init__(self, dim: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.qkv, self.out = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.feed = nn.Sequential(nn.Linear(dim, 4 * dim), nn.GELU(), nn.Linear(4 * dim, dim))
        self.dropout = nn.Dropout(dropout)
        self.distance = nn.Parameter(torch.zeros(heads, NEAR + FAR))

    def forward(self, states: Tensor, buckets: Tensor, future: Tensor) -> Tensor:
        b, length, dim = states.shape
        qkv = self.qkv(self.norm1(states)).view(b, length, 3, self.heads, dim // self.heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4)
        bias = self.distance[:, buckets].masked_fill(future, -torch.inf)
        seen = functional.scaled_dot_product_attention(query, key, value, attn_mask=bias[None])
        states = states + self.dropout(self.out(seen.transpose(1, 2).reshape(b, length, dim)))
        return states + self.dropout(self.feed(self.norm2(states)))


class ScaledDot(nn.Module):
    """Dot product of user and item times a learned scale: ``[m, dim], [m, dim] -> [m]``."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.tensor(0.0))

    def forward(self, users: Tensor, items: Tensor) -> Tensor:
        return (users * items).sum(-1) * self.log_scale.exp()

    def against(self, users: Tensor, candidates: Tensor) -> Tensor:
        """Every user with every candidate: ``[m, dim], [c, dim] -> [m, c]``."""
        return self.asking(users) @ candidates.T

    def asking(self, users: Tensor) -> Tensor:
        """What an item's vector is multiplied with to give its score: ``[m, dim]``."""
        return users * self.log_scale.exp()


class Scaled(nn.Module):
    """A linear reading of features on the label's scale, which begins at its mean: ``[m, dim] -> [m]``."""

    def __init__(self, dim: int, mean: float, std: float) -> None:
        super().__init__()
        self.out = nn.Linear(dim, 1)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)
        self.mean, self.std = mean, std

    def forward(self, features: Tensor) -> Tensor:
        return self.mean + self.std * self.out(features).squeeze(-1)


class LogOdds(Scaled):
    """Log-odds of a yes or no, from ``start``, or from a reading ``towards [dim]`` a yes: ``[m, dim] -> [m]``."""

    def __init__(self, dim: int, start: float, yes: float = 1.0, towards: Tensor | None = None) -> None:
        super().__init__(dim, start, 1.0)
        self.yes = yes
        """How much a row that says yes counts."""
        if towards is not None:
            with torch.no_grad():
                self.out.weight.copy_(towards[None])


class ClassScores(nn.Module):
    """A score of each class, from the shares of the classes: ``[m, dim] -> [m, classes]``."""

    classes: Tensor
    """``[classes]``: their labels, sorted."""
    weights: Tensor
    """``[classes]``: how much a row of each counts."""

    def __init__(self, dim: int, classes: Tensor, counts: Tensor, balanced: bool) -> None:
        super().__init__()
        shares = counts / counts.sum()
        weights = 1 / (shares * len(classes)) if balanced else torch.ones_like(shares)
        self.register_buffer("classes", classes, persistent=False)
        self.register_buffer("weights", weights, persistent=False)
        self.out = nn.Linear(dim, len(classes))
        nn.init.zeros_(self.out.weight)
        with torch.no_grad():
            self.out.bias.copy_((shares * weights).log())

    def forward(self, features: Tensor) -> Tensor:
        return self.out(features)

    def places(self, labels: Tensor) -> Tensor:
        """Which class each label is; -1 for one that is none."""
        found = torch.searchsorted(self.classes, labels.to(self.classes)).clamp(max=len(self.classes) - 1)
        return torch.where(self.classes[found] == labels, found, -1)


class Thresholds(nn.Module):
    """Log-odds that a label lies above each class but the highest: ``[m, dim] -> [m, classes - 1]``.

    One score of the row against thresholds that stay in order, as each is the one below and a positive gap.
    """

    classes: Tensor
    """``[classes]``: their labels, sorted."""

    def __init__(self, dim: int, classes: Tensor, counts: Tensor) -> None:
        super().__init__()
        above = 1 - (counts.cumsum(0) / counts.sum())[:-1]
        start = -above.clamp(1e-4, 1 - 1e-4).logit()
        self.register_buffer("classes", classes, persistent=False)
        self.score = nn.Linear(dim, 1, bias=False)
        nn.init.zeros_(self.score.weight)
        self.first = nn.Parameter(start[:1])
        self.log_gaps = nn.Parameter(start.diff().clamp(min=1e-3).log())

    def forward(self, features: Tensor) -> Tensor:
        thresholds = self.first + torch.cat([torch.zeros(1), self.log_gaps.exp().cumsum(0)])
        return self.score(features) - thresholds

    def expected(self, features: Tensor) -> Tensor:
        """The label on the mean of its classes: ``[m]``."""
        return self.classes[0] + self(features).sigmoid() @ self.classes.diff()


class Words(nn.Module):
    """How likely each state's next word is, by a language model's own word vectors, which are not trained.

    A learned scale says how sure it is. The scores of all words are made for a few states at a time, and anew for the
    backward pass: `torch.nn.functional.linear_cross_entropy` spares the same memory, from torch 2.13 on.
    """

    vectors: Tensor
    """``[words, hidden]``."""

    def __init__(self, vectors: Tensor) -> None:
        super().__init__()
        self.register_buffer("vectors", vectors.detach(), persistent=False)
        self.log_scale = nn.Parameter(torch.tensor(0.0))
        self.block = max(1, BLOCK // len(vectors))

    def forward(self, states: Tensor, words: Tensor) -> Tensor:
        """Log-likelihood of ``words [n]`` after ``states [n, hidden]``: ``[n]``."""
        parts = zip(states.split(self.block), words.split(self.block), strict=True)
        if torch.is_grad_enabled():
            found = [checkpoint(self._block, *part, use_reentrant=False, preserve_rng_state=False) for part in parts]
        else:
            found = [self._block(*part) for part in parts]
        return torch.cat(found)  # type: ignore[arg-type]

    def _block(self, states: Tensor, words: Tensor) -> Tensor:
        scores = (states @ self.vectors.T.to(states.dtype)).float() * self.log_scale.exp()
        return -functional.cross_entropy(scores, words, reduction="none")


BLOCK = 1 << 24
"""Scores of words that are held at once: 64 MB."""


class Cosines(nn.Module):
    """Cosine of every pair over a temperature: ``[n, dim], [k, dim] -> [n, k]``."""

    def __init__(self, temperature: float) -> None:
        super().__init__()
        self.temperature = temperature

    def forward(self, one: Tensor, other: Tensor) -> Tensor:
        return functional.normalize(one, dim=-1) @ functional.normalize(other, dim=-1).T / self.temperature
