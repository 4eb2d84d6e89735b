"""Backbones: pretrained language models, encoders and decoders, as layers that can be run one by one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from torch import Tensor, nn


class Anatomy(Protocol):
    """How the layers of one family of models are fed."""

    layers: nn.ModuleList
    """The transformer layers, in order."""
    norm: nn.Module | None
    """What comes after the last layer; None where the layers end normalised."""
    causal: bool
    """Whether a token sees only itself and earlier ones: true for decoders."""
    hidden_size: int

    def embed(self, ids: Tensor) -> Tensor:
        """What enters the first layer: ``[b, l] -> [b, l, hidden]``."""
        ...

    def inputs(self, states: Tensor, real: Tensor | None, before: int) -> Callable[[nn.Module], dict[str, Any]]:
        """What each layer takes beside ``states [b, l, hidden]``, a function of the layer.

        ``real [b, l]`` is true at tokens (None if all are), real tokens first. ``before`` positions, which every token
        sees, stand in front of the keys: those that a learned prefix adds.
        """
        ...


@dataclass(frozen=True)
class Reading:
    """How a language model was taught to read: what it wants in front of a text, how sharply it tells texts apart."""

    query: str = ""
    """In front of what a person says or did."""
    passage: str = ""
    """In front of an item's text."""
    temperature: float = 0.05
    """Divides cosines in a contrastive loss; smaller is sharper."""


@dataclass
class Loaded:
    """A language model in memory."""

    anatomy: Anatomy
    tokenizer: Any
    revision: str
    """Hash of weights and tokenizer: equal for equal models, wherever they lie."""
    vocabulary: Tensor | None = None
    """``[words, hidden]``: a decoder's vectors of the words that it writes; None for an encoder."""
    reading: Reading = field(default_factory=Reading)

    @property
    def layers(self) -> nn.ModuleList:
        """The transformer layers, in order."""
        return self.anatomy.layers

    @property
    def hidden_size(self) -> int:
        """Width of its states."""
        return self.anatomy.hidden_size


@dataclass(frozen=True)
class Shape:
    """What is known of a language model before its weights are loaded."""

    causal: bool
    """Whether it is a decoder."""
    depth: int
    """Layers."""
    family: str
    """``model_type`` of its HuggingFace configuration: bert, llama, gemma3_text ..."""
    tokenizer: Path | None = None
    """Its ``tokenizer.json``, where that is at hand."""


class Backbone(Protocol):
    """Where a language model comes from."""

    def shape(self) -> Shape | None:
        """What can be said without loading weights or using the network; None if nothing."""
        ...

    def load(self) -> Loaded:
        """Weights and tokenizer, ready to run. Raises `GenreError` that says what to install or where it looked."""
        ...
