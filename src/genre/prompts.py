"""What the language model reads in the formulations `text` and `cross`: rows and prompts, as tokens within a budget."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from genre.backbones import Loaded
from genre.component import suggest
from genre.data import Dataset, Histories, Log
from genre.errors import ConfigError
from genre.formulations import Asked
from genre.hidden import tokenize
from genre.labels import Label
from genre.text import Cut, Field, parse, render, tidy
from genre.types import Ints

if TYPE_CHECKING:
    import pyarrow as pa

    from genre.config import ModelSection

JOINT = 1
"""Tokens set aside for each place where pieces of a prompt meet: there words may be cut up otherwise than alone."""


def cutter(loaded: Loaded) -> Cut:
    """Cuts a text after so many tokens of the language model."""

    def cut(text: str, budget: int) -> str:
        read = loaded.tokenizer(
            text, truncation=True, max_length=budget, add_special_tokens=False, return_offsets_mapping=True
        )
        ends = read["offset_mapping"]
        return text[: ends[-1][1]] if ends else ""

    return cut


def item_texts(section: ModelSection, loaded: Loaded, data: Dataset, template: str = "") -> list[str]:
    """Each item's text by the model's template, or another, as the language model was taught to read one."""
    texts = render(data.items, template or section.template, cutter(loaded))
    return [loaded.reading.passage + text for text in texts]


HISTORY = ("history", "liked", "disliked")
"""Places of a prompt that events of the history are written in."""


@dataclass(frozen=True)
class Prompt:
    """A text that is read, in words and as tokens."""

    text: str
    tokens: list[int]
    dropped: int = 0
    """Items of the history, the oldest, that found no room."""


class Writer:
    """Writes what is read of a row, or of a person and an item."""

    def __init__(self, section: ModelSection, loaded: Loaded, data: Dataset) -> None:
        self.section, self.loaded, self.data = section, loaded, data
        self.formulation: Any = section.formulation

    def write(self, asked: Asked) -> list[Prompt]:
        """The prompt of every question."""
        if self.formulation.reads == "rows":
            return self._rows(asked)
        return self.pairs(asked.histories, asked.person, asked.item)

    def _rows(self, asked: Asked) -> list[Prompt]:
        table = self.joined(self.section.template).take(asked.row)
        # Spans count the characters of the text as it stands.
        as_is = any(head.predicts == "tokens" for head in self.section.heads.values())
        texts = render(table, self.section.template, cutter(self.loaded), as_is)
        return self._prompts([self.loaded.reading.query + text for text in texts])

    def joined(self, template: str) -> pa.Table:
        """The interactions with the columns of their items and users that a template names (``{item.title}``)."""
        table = self.data.interactions
        for side, key in (("item", "item_id"), ("user", "user_id")):
            table = _with_side(table, getattr(self.data, f"{side}s"), side, key, template)
        return table

    def pairs(self, histories: Histories, person: np.ndarray, item: Ints) -> list[Prompt]:
        """The prompt of people and an item each: ``person`` numbers the histories."""
        fields = parse(self.formulation.prompt)
        places = [field.column for field in fields if field.column in HISTORY]
        sort, texts, dropped = self._sorts(histories, places), [], []
        for one, row in zip(person, item.tolist(), strict=True):
            own = slice(histories.offsets[one], histories.offsets[one + 1])
            kept = self._latest(histories.item[own], sort[own], fields, self._room(row, len(places)))
            words = {name: self.formulation.separator.join(self._items[i] for i in kept[name]) for name in kept}
            texts.append(_fill(fields, {**words, "item": self._items[row]}))
            dropped.append(int((sort[own] >= 0).sum()) - sum(map(len, kept.values())))
        return self._prompts(texts, dropped)

    def _sorts(self, histories: Histories, places: Sequence[str | None]) -> NDArray[np.int8]:
        """Where each event is written, as its number in `HISTORY`; -1 for one that the prompt has no place for."""
        if "history" in places:
            return np.zeros(len(histories.item), dtype=np.int8)
        label, actions = self._liked
        holds = label.of_events(histories, actions)
        sort = np.where(holds == 0, HISTORY.index("disliked"), HISTORY.index("liked"))
        asked = [HISTORY.index(name) for name in places if name]
        return np.where(np.isin(sort, asked), sort, -1).astype(np.int8)

    @cached_property
    def _liked(self) -> tuple[Label, tuple[str, ...]]:
        """What is liked, and the words of the log's actions."""
        return Label.parse(self.formulation.liked), Log.of(self.data).actions

    def _room(self, item: int, places: int) -> int:
        """Tokens that are left for the history, which stands in so many places."""
        return self.section.max_tokens - self._frame - self._count(self._items[item]) - (1 + places) * JOINT

    @cached_property
    def _frame(self) -> int:
        """Tokens of a prompt without history and item."""
        return len(tokenize(self.loaded, [_fill(parse(self.formulation.prompt), {})], 10_000)[0])

    def _latest(self, items: Ints, sort: NDArray[np.int8], fields: list[Field], room: int) -> dict[str, list[int]]:
        """As many of the latest items as there is room for, oldest first, by where they are written.

        A place whose own budget is used up takes no older ones; the others go on.
        """
        rooms = {f.column: room if f.budget is None else f.budget for f in fields if f.column in HISTORY}
        kept: dict[str, list[int]] = {name: [] for name in rooms if name}
        for row, place in zip(reversed(items.tolist()), reversed(sort.tolist()), strict=True):
            name = HISTORY[place]
            if place < 0 or rooms[name] < 0:
                continue
            cost = self._count(self._items[row]) + self._joint
            rooms[name] -= cost
            if rooms[name] < 0:
                continue
            room -= cost
            if room < 0:
                break
            kept[name].append(row)
        return {name: rows[::-1] for name, rows in kept.items()}

    def _count(self, text: str) -> int:
        if text not in self._counts:
            self._counts[text] = len(self.loaded.tokenizer(text, add_special_tokens=False)["input_ids"])
        return self._counts[text]

    def _prompts(self, texts: Sequence[str], dropped: Sequence[int] | None = None) -> list[Prompt]:
        tokens = tokenize(self.loaded, texts, self.section.max_tokens)
        return [Prompt(t, k, d) for t, k, d in zip(texts, tokens, dropped or [0] * len(texts), strict=True)]

    @cached_property
    def _items(self) -> list[str]:
        texts = render(self.data.items, self.section.template, cutter(self.loaded))
        budget = next((f.budget for f in parse(self.formulation.prompt) if f.column == "item" and f.budget), None)
        return [cutter(self.loaded)(text, budget) for text in texts] if budget else texts

    @cached_property
    def _joint(self) -> int:
        return self._count(self.formulation.separator) + JOINT

    @cached_property
    def _counts(self) -> dict[str, int]:
        return {}


def _fill(fields: list[Field], values: dict[str, str]) -> str:
    return tidy("".join(field.words + values.get(field.column or "", "") for field in fields))


def _with_side(table: pa.Table, other: pa.Table, side: str, key: str, template: str) -> pa.Table:
    """``table`` with the columns ``side.x`` of the other table that the template names, looked up by ``key``."""
    import pyarrow.compute as pc

    for field in parse(template):
        if field.column and field.column.startswith(f"{side}.") and field.column not in table.column_names:
            column = field.column.removeprefix(f"{side}.")
            if column not in other.column_names:
                what = f"the {side}s have no column '{column}'; {suggest(column, other.column_names)}"
                raise ConfigError([f"model.template: {what}"])
            at = pc.call_function("index_in", [table[key]], pc.SetLookupOptions(value_set=other[key].combine_chunks()))
            table = table.append_column(field.column, other[column].take(at))
    return table
