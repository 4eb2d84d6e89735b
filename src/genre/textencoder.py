"""The fine-tuned upper part of a language model: from hidden states to one vector a text."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from genre.backbones import Backbone, Loaded
from genre.clock import note, timed, times
from genre.config import ModelSection, TrainSection
from genre.hidden import PassingStates, States, hidden_states, tokenize
from genre.layers import AttentionPooling, FirstPooling, LastPooling, MeanPooling
from genre.stack import Stack, Tuning
from genre.text import batches_by_length
from genre.types import Floats

POOLINGS: dict[str, Callable[[int], nn.Module]] = {
    "mean": lambda hidden: MeanPooling(),
    "first": lambda hidden: FirstPooling(),
    "last": lambda hidden: LastPooling(),
    "attention": AttentionPooling,
}


class TextEncoder(nn.Module):
    """A stack of layers, and pooling: ``[b, l, width] -> [b, hidden]``, of unit length if ``unit``."""

    def __init__(self, stack: Stack, pooling: str, unit: bool = True) -> None:
        super().__init__()
        self.stack, self.unit = stack, unit
        self.pool = POOLINGS[pooling](stack.hidden_size)
        self.noise = torch.get_rng_state()
        """Where random numbers stood at the start of the last `encode`."""

    def forward(self, states: Tensor, real: Tensor | None) -> Tensor:
        return self.pooled(self.stack(states, real), real)

    def pooled(self, states: Tensor, real: Tensor | None) -> Tensor:
        """One vector a text from the states after the last layer."""
        vectors = self.pool(states, real)
        return nn.functional.normalize(vectors, dim=-1) if self.unit else vectors

    def trained_state(self) -> dict[str, Tensor]:
        """Copies of the weights that training can change, by name: what a model folder keeps of the language model."""
        trained = {name for name, weight in self.named_parameters() if weight.requires_grad}
        state = self.state_dict().items()
        kept = {name: weight for name, weight in state if name in trained or name.startswith("pool.")}
        return {name: weight.detach().clone().contiguous() for name, weight in kept.items()}

    @property
    def trainable(self) -> bool:
        """Whether any of its weights is trained."""
        return bool(self.opened())

    def opened(self) -> list[tuple[str, nn.Parameter]]:
        """The weights that are trained, by name: those of the stack first, as the adapter calls them."""
        return [
            (name.removeprefix("stack."), weight) for name, weight in self.named_parameters() if weight.requires_grad
        ]

    @torch.no_grad()
    def encode(self, states: States, rows: NDArray[np.int64], token_budget: int) -> Tensor:
        """Vectors of some texts, in batches of similar length, without a graph: ``[rows, hidden]``."""
        self.noise = torch.get_rng_state()
        vectors = torch.empty(len(rows), self.stack.hidden_size)
        for part in self._parts(states, rows, token_budget):
            vectors[torch.from_numpy(part)] = self(*states.batch(rows[part]))
        return vectors

    def backward(self, states: States, rows: NDArray[np.int64], gradient: Tensor, token_budget: int) -> None:
        """Carry the gradient of some texts' vectors into the weights, a batch at a time, so that memory is bounded.

        The vectors are computed anew with a graph, what an adapter drops is what it dropped in the last `encode`: the
        gradient is exact for the weights as they were there.
        Gao et al., GradCache (2021), https://arxiv.org/abs/2101.06983.
        """
        with torch.random.fork_rng(devices=[]):
            torch.set_rng_state(self.noise)
            for part in self._parts(states, rows, token_budget):
                entering, real = states.batch(rows[part])
                vectors = self(entering, real)
                with timed("backward, layers"):
                    places = entering.shape[0] * entering.shape[1]
                    note(texts=len(part), tokens=int(states.lengths[rows[part]].sum()), places=places)
                    vectors.backward(gradient[torch.from_numpy(part)])

    def _parts(self, states: States, rows: NDArray[np.int64], token_budget: int) -> Iterator[NDArray[np.int64]]:
        for batch in batches_by_length(states.lengths[rows], token_budget):
            yield batch.rows


@functools.lru_cache(maxsize=2)
@times("load", whole=True)
def load(backbone: Backbone) -> Loaded:
    """The language model, read once however many models stand on it."""
    return backbone.load()


def build(section: ModelSection, loaded: Loaded, train: TrainSection | None = None) -> tuple[TextEncoder, Tuning]:
    """The text encoder that ``section`` describes, its adapter applied, and what that asks of the training loop.

    ``train`` says how it computes while it learns.
    """
    stack = Stack(loaded, section.adapter.taps(len(loaded.layers)))
    tuning = section.adapter.apply(stack)
    # An item's vector is shared by the steps of a round, so there the language model makes no noise of its own.
    stack.noisy = section.formulation.reads != "items"
    if train is not None:
        stack.checkpointing, stack.precision = train.checkpointing, getattr(torch, train.precision)
    return TextEncoder(stack, section.pooling, unit=section.formulation.reads == "items"), tuning


def pretrained_vectors(
    loaded: Loaded, texts: Sequence[str], max_tokens: int, keep: bool = True, token_budget: int = 8192
) -> Floats:
    """Texts as the language model sees them before any training, mean-pooled: ``[texts, hidden]``, of unit length.

    ``keep`` is false for texts that will not come again: their states are not stored.
    """
    stack, tokens = Stack(loaded, (len(loaded.layers),)), tokenize(loaded, texts, max_tokens)
    states: States
    states = (
        hidden_states(loaded, tokens, stack.taps, token_budget)
        if keep
        else PassingStates.of(loaded, tokens, stack.taps)
    )
    return TextEncoder(stack, "mean").encode(states, np.arange(len(texts)), token_budget).numpy()
