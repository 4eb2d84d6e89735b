"""Self-attention over what a person did."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import PositiveInt

from genre.component import component
from genre.errors import ConfigError

if TYPE_CHECKING:
    from torch import nn


@component
class Transformer:
    """A causal transformer reads the events in order, as in SASRec: what came last and what goes together both count.

    The choice wherever order matters; `mean` where it does not.
    Kang and McAuley, Self-Attentive Sequential Recommendation (2018), https://arxiv.org/abs/1808.09781.
    """

    layers: PositiveInt = 2
    """Attention layers; more can read longer patterns, and over-fit small logs."""
    heads: PositiveInt = 2
    """Attention heads a layer; must divide ``model.dim``. More look at more things at once, each with less room."""

    def build(self, dim: int, max_length: int, dropout: float) -> nn.Module:
        from genre.layers import CausalTransformer

        if dim % self.heads:
            raise ConfigError([f"model.user.heads: {self.heads} does not divide model.dim {dim}"])
        return CausalTransformer(dim, self.layers, self.heads, max_length, dropout)
