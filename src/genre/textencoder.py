"""The fine-tuned upper part of a language model: from hidden states to one vector a text."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from genre.backbones import Loaded
from genre.config import ModelSection
from genre.hidden import HiddenStates, attention_mask, hidden_states, passing_states
from genre.layers import AttentionPooling, FirstPooling, MeanPooling
from genre.text import batches_by_length
from genre.types import Floats

POOLINGS: dict[str, Callable[[int], nn.Module]] = {
    "mean": lambda hidden: MeanPooling(),
    "first": lambda hidden: FirstPooling(),
    "attention": AttentionPooling,
}


class TextEncoder(nn.Module):
    """The layers that an adapter trains, and pooling: ``[b, l, hidden] -> [b, hidden]``, of unit length."""

    def __init__(self, layers: nn.ModuleList, pooling: str, hidden: int) -> None:
        super().__init__()
        self.layers = layers
        self.pool = POOLINGS[pooling](hidden)

    def forward(self, states: Tensor, real: Tensor | None) -> Tensor:
        mask = attention_mask(real)
        for layer in self.layers:
            states = layer(states, mask)
        return nn.functional.normalize(self.pool(states, real), dim=-1)

    @property
    def trainable(self) -> bool:
        """Whether any of its weights is trained."""
        return any(p.requires_grad for p in self.parameters())

    def train(self, mode: bool = True) -> TextEncoder:
        """Switches the pooling only: the language model's own dropout would blur vectors that are shared in a round."""
        super().train(False)
        self.pool.train(mode)
        return self

    @torch.no_grad()
    def encode(self, states: HiddenStates, rows: NDArray[np.int64], token_budget: int) -> Tensor:
        """Vectors of some texts, in batches of similar length, without a graph: ``[rows, hidden]``."""
        vectors = torch.empty(len(rows), states.segments[0].shape[1] if states.segments else 0)
        for part in self._parts(states, rows, token_budget):
            vectors[torch.from_numpy(part)] = self(*states.batch(rows[part]))
        return vectors

    def backward(self, states: HiddenStates, rows: NDArray[np.int64], gradient: Tensor, token_budget: int) -> None:
        """Carry the gradient of some texts' vectors into the weights, a batch at a time, so that memory is bounded.

        The vectors are computed anew with a graph; the gradient is exact for the weights as they were in `encode`.
        Gao et al., GradCache (2021), https://arxiv.org/abs/2101.06983.
        """
        for part in self._parts(states, rows, token_budget):
            self(*states.batch(rows[part])).backward(gradient[torch.from_numpy(part)])

    def _parts(self, states: HiddenStates, rows: NDArray[np.int64], token_budget: int) -> Iterator[NDArray[np.int64]]:
        for batch in batches_by_length(states.lengths[rows], token_budget):
            yield batch.rows


def build(section: ModelSection, loaded: Loaded) -> tuple[TextEncoder, int]:
    """The text encoder that ``section`` describes, its adapter applied, and the layer that its input enters."""
    first = section.adapter.first_layer(len(loaded.layers))
    upper = nn.ModuleList(list(loaded.layers)[first:])
    section.adapter.apply(upper)
    return TextEncoder(upper, section.pooling, loaded.hidden_size), first


def pretrained_vectors(
    loaded: Loaded, texts: Sequence[str], max_tokens: int, keep: bool = True, token_budget: int = 8192
) -> Floats:
    """Texts as the language model sees them before any training, mean-pooled: ``[texts, hidden]``, of unit length.

    ``keep`` is false for texts that will not come again: their states are not stored.
    """
    states_of = hidden_states if keep else passing_states
    states = states_of(loaded, texts, len(loaded.layers), max_tokens, token_budget)
    encoder = TextEncoder(nn.ModuleList(), "mean", loaded.hidden_size)
    return encoder.encode(states, np.arange(len(texts)), token_budget).numpy()
