"""The fine-tuned upper part of a language model: from hidden states to one vector a text."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from genre.backbones import Backbone, Loaded
from genre.clock import note, timed, times
from genre.config import ModelSection, TrainSection
from genre.data import Dataset
from genre.hidden import PassingStates, States, hidden_states, tokenize
from genre.layers import AttentionPooling, FirstPooling, LastPooling, MeanPooling
from genre.noise import Dealt, Standing, dealt_noise, padded_to
from genre.parallel import team, whole
from genre.prompts import item_texts
from genre.stack import Stack, Tuning
from genre.text import batches_by_length
from genre.types import Floats

Rows = NDArray[np.int64]
POOLINGS: dict[str, Callable[[int], nn.Module]] = {
    "mean": lambda hidden: MeanPooling(),
    "first": lambda hidden: FirstPooling(),
    "last": lambda hidden: LastPooling(),
    "attention": AttentionPooling,
}


@dataclass(frozen=True)
class Followed:
    """Vectors of some texts, whose gradient will be carried back."""

    vectors: Tensor
    """``[texts, hidden]``: a leaf, which collects the gradient."""
    noise: Standing
    """Where random numbers stood when they were made."""
    parts: list[tuple[NDArray[np.int64], Tensor]] = field(default_factory=list)
    """Which texts each batch held, and its vectors with their graph; none where they are computed anew."""


class TextEncoder(nn.Module):
    """A stack of layers, and pooling: ``[b, l, width] -> [b, hidden]``, of unit length if ``unit``."""

    def __init__(self, stack: Stack, pooling: str, unit: bool = True) -> None:
        super().__init__()
        self.stack, self.unit = stack, unit
        self.pool = POOLINGS[pooling](stack.hidden_size)
        self.noise = Standing.now()
        """Where random numbers stood at the start of the last `encode`."""

    def forward(self, states: Tensor, real: Tensor | None) -> Tensor:
        return self.pooled(self.stack(states, real), real)

    def pooled(self, states: Tensor, real: Tensor | None) -> Tensor:
        """One vector a text from the states after the last layer; on the processor, wherever they are."""
        vectors = self.pool(states, None if real is None else real.to(states.device)).to("cpu")
        return nn.functional.normalize(vectors, dim=-1) if self.unit else vectors

    def trained_state(self) -> dict[str, Tensor]:
        """Copies of the weights that training can change, by name: what a model folder keeps of the language model."""
        trained = {name for name, weight in self.named_parameters() if weight.requires_grad}
        state = self.state_dict().items()
        kept = {name: weight for name, weight in state if name in trained or name.startswith("pool.")}
        return {name: whole(weight).detach().clone().contiguous() for name, weight in kept.items()}

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
        self.noise = Standing.now()
        vectors = torch.zeros(len(rows), self.stack.hidden_size)
        for part in self._parts(states, rows, token_budget):
            with self._dealt(states, rows, part) as (mine, entering, real, weight):
                vectors[torch.from_numpy(mine)] = weight * self(entering, real)
        return team().sum(vectors)

    def follow(self, states: States, rows: NDArray[np.int64], token_budget: int, most: int) -> Followed:
        """The same, to carry a gradient back later: with their graph where they are at most ``most`` tokens."""
        places = sum(
            len(part) * int(states.lengths[rows[part]].max()) for part in self._parts(states, rows, token_budget)
        )
        if places > most or self.stack.checkpointing:
            return Followed(self.encode(states, rows, token_budget).requires_grad_(), self.noise)
        parts: list[tuple[Rows, Tensor]] = []
        vectors = torch.zeros(len(rows), self.stack.hidden_size)
        for part in self._parts(states, rows, token_budget):
            with self._dealt(states, rows, part) as (mine, entering, real, weight):
                own = weight * self(entering, real)
            parts.append((mine, own))
            vectors[torch.from_numpy(mine)] = own.detach()
        return Followed(team().sum(vectors).requires_grad_(), self.noise, parts)

    def carry(self, states: States, rows: NDArray[np.int64], of: Followed, share: float, token_budget: int) -> None:
        """Carry a ``share`` of the gradient that was collected in followed vectors into the weights."""
        if of.vectors.grad is None:
            return
        gradient = team().mean(of.vectors.grad) * share
        if not of.parts:
            self.noise = of.noise
            self.backward(states, rows, gradient, token_budget)
            return
        with timed("backward, layers"):
            for part, vectors in of.parts:
                tokens = states.lengths[rows[part]]
                note(texts=len(part), tokens=int(tokens.sum()), places=len(part) * int(tokens.max()))
                vectors.backward(team().size * gradient[torch.from_numpy(part)])
        of.parts.clear()

    def backward(self, states: States, rows: NDArray[np.int64], gradient: Tensor, token_budget: int) -> None:
        """Carry the gradient of some texts' vectors into the weights, a batch at a time, so that memory is bounded.

        The vectors are computed anew with a graph, what an adapter drops is what it dropped in the last `encode`: the
        gradient is exact for the weights as they were there.
        Gao et al., GradCache (2021), https://arxiv.org/abs/2101.06983.
        """
        with self.noise.again():
            for part in self._parts(states, rows, token_budget):
                with self._dealt(states, rows, part) as (mine, entering, real, weight):
                    vectors = self(entering, real)
                    with timed("backward, layers"):
                        places = entering.shape[0] * entering.shape[1]
                        note(texts=len(mine), tokens=int(states.lengths[rows[mine]].sum()), places=places)
                        # What all have together is a sum, and gradients are made the mean of all.
                        vectors.backward(weight * team().size * gradient[torch.from_numpy(mine)])

    @contextmanager
    def _dealt(self, states: States, rows: Rows, part: Rows) -> Iterator[tuple[Rows, Tensor, Tensor | None, float]]:
        """This worker's texts of a batch, their states, and how much they count: nothing, where there are none left."""
        if team().alone:
            yield part, *states.batch(rows[part]), 1.0
            return
        at, weight = team().dealt(len(part))
        entering, real = states.batch(rows[part[at]])
        with dealt_noise(Dealt.of(at, len(part))):
            yield part[at], *padded_to(entering, real, int(states.lengths[rows[part]].max())), weight

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


def item_vectors(section: ModelSection, loaded: Loaded, data: Dataset) -> Floats:
    """Item texts as the pretrained language model sees them, before any training: ``[items, hidden]``, unit length.

    An item without text has zeros: what the language model makes of nothing would be the same for all of them.
    """
    texts = item_texts(section, loaded, data)
    told = np.array([bool(text.removeprefix(loaded.reading.passage)) for text in texts])
    vectors = pretrained_vectors(loaded, texts, section.max_tokens)
    vectors[~told] = 0
    return vectors


def pretrained_items(section: ModelSection, data: Dataset) -> Floats:
    """The same by the language model as it came, whatever form of it answers: what was learned from them holds."""
    return item_vectors(section, load(section.backbone), data)
