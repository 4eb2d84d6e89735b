"""The texts of a catalogue through the trained layers, read by the model's template and by those that heads want."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from genre.backbones import Loaded
from genre.clock import timed, times
from genre.config import ModelSection
from genre.data import Dataset
from genre.errors import DataError
from genre.hidden import States, hidden_states, tokenize
from genre.prompts import item_texts
from genre.textencoder import TextEncoder

Rows = NDArray[np.int64]


@dataclass
class ItemTexts:
    """One reading a template: the model's own first, then the other views of the same items."""

    text: TextEncoder
    states: list[States]
    token_budget: int
    tables: list[Tensor] = field(default_factory=list)
    """``[items, hidden]`` a reading: the vectors as they were when last settled."""

    @classmethod
    def of(
        cls, section: ModelSection, loaded: Loaded, text: TextEncoder, data: Dataset, views: Sequence[str], budget: int
    ) -> ItemTexts:
        """Read the items of a dataset by the model's template and by each of ``views``."""
        with timed("write texts"):
            readings = [item_texts(section, loaded, data, template) for template in (section.template, *views)]
        if not any(text.removeprefix(loaded.reading.passage) for text in readings[0]):
            raise DataError(
                f"model.template: '{section.template}' leaves every item without text, as its columns are empty; name "
                "other columns of the items, or set model.text: false and model.ids: true"
            )
        tokens = [tokenize(loaded, texts, section.max_tokens) for texts in readings]
        made = cls(text, [hidden_states(loaded, one, text.stack.taps, budget) for one in tokens], budget)
        made.settle()
        return made

    @times("all item vectors", whole=True)
    def settle(self) -> None:
        """Bring the tables up to the language model as it is now."""
        everything = np.arange(len(self.states[0]))
        self.text.eval()
        self.tables = [self.text.encode(states, everything, self.token_budget) for states in self.states]

    def still(self, rows: Rows) -> list[Tensor]:
        """Vectors of some items from the tables, a tensor a reading."""
        return [table[torch.from_numpy(rows)] for table in self.tables]

    def moving(self, rows: Rows) -> list[Leaf]:
        """Vectors of some items by the language model as it is now, to collect their gradient in."""
        self.text.train()
        leaves = []
        for states in self.states:
            vectors = self.text.encode(states, rows, self.token_budget).requires_grad_()
            leaves.append(Leaf(vectors, self.text.noise))
        return leaves

    def backward(self, rows: Rows, leaves: list[Leaf], steps: int) -> None:
        """Carry the mean over ``steps`` of the gradient collected in the leaves into the language model's weights."""
        for states, leaf in zip(self.states, leaves, strict=True):
            if leaf.vectors.grad is not None:
                self.text.noise = leaf.noise
                self.text.backward(states, rows, leaf.vectors.grad / steps, self.token_budget)


@dataclass(frozen=True)
class Leaf:
    """Vectors of a round, and where random numbers stood when they were made."""

    vectors: Tensor
    noise: Tensor
