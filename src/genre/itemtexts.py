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
from genre.config import ModelSection, TrainSection
from genre.data import Dataset
from genre.errors import DataError
from genre.hidden import States, hidden_states, tokenize
from genre.prompts import item_texts
from genre.textencoder import Followed, TextEncoder

Rows = NDArray[np.int64]


@dataclass
class ItemTexts:
    """One reading a template: the model's own first, then the other views of the same items."""

    text: TextEncoder
    states: list[States]
    token_budget: int
    graph_tokens: int
    """Most tokens whose graph is kept from reading to the gradient's way back."""
    tables: list[Tensor] = field(default_factory=list)
    """``[items, hidden]`` a reading: the vectors as they were when last settled."""

    @classmethod
    def of(
        cls,
        section: ModelSection,
        loaded: Loaded,
        text: TextEncoder,
        data: Dataset,
        views: Sequence[str],
        train: TrainSection,
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
        budget = train.token_budget
        states = [hidden_states(loaded, one, text.stack.taps, budget) for one in tokens]
        made = cls(text, list(states), budget, train.graph_tokens)
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

    def moving(self, rows: Rows) -> list[Followed]:
        """Vectors of some items by the language model as it is now, to collect their gradient in."""
        self.text.train()
        most = self.graph_tokens // len(self.states)
        return [self.text.follow(states, rows, self.token_budget, most) for states in self.states]

    def backward(self, rows: Rows, leaves: list[Followed], steps: int) -> None:
        """Carry the mean over ``steps`` of the gradient collected in the leaves into the language model's weights."""
        for states, leaf in zip(self.states, leaves, strict=True):
            self.text.carry(states, rows, leaf, 1 / steps, self.token_budget)
