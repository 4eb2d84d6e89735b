"""Backbones: pretrained language models, as the part that stays as it is and the part that is fine-tuned."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from torch import nn


@dataclass
class Loaded:
    """A language model in memory."""

    model: nn.Module
    """The whole HuggingFace encoder."""
    tokenizer: Any
    layers: nn.ModuleList
    """Its transformer layers, in order, the same objects as inside ``model``."""
    hidden_size: int
    revision: str
    """Hash of weights and tokenizer: equal for equal models, wherever they lie."""


class Backbone(Protocol):
    """Where a language model comes from."""

    def load(self) -> Loaded:
        """Weights and tokenizer, ready to run. Raises `GenreError` that says what to install or where it looked."""
        ...
