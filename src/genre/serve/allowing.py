"""Which items a request may be shown: what it says of the items' columns, what it excludes, and what is moderated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from genre.component import suggest
from genre.data import Histories
from genre.errors import GenreError
from genre.serve.caches import Cache
from genre.types import Bools, Floats, Ints

if TYPE_CHECKING:
    import pyarrow as pa

Word = str | float
MASKS = 256
"""Conditions whose items are remembered."""


@dataclass(frozen=True)
class Condition:
    """What must hold of a column of an item: one of some values, none of others, a number within bounds."""

    column: str
    any_of: tuple[Word, ...] = ()
    none_of: tuple[Word, ...] = ()
    low: float | None = None
    high: float | None = None


class Columns:
    """The columns of the items table, each read when it is first asked of."""

    def __init__(self, items: pa.Table) -> None:
        self.items = items
        self._read: dict[str, Column] = {}
        self._masks: Cache[Condition, Bools] = Cache(MASKS)

    def mask(self, conditions: Sequence[Condition]) -> Bools | None:
        """The items that fulfil all conditions, None for no condition. Raises `GenreError` for an unknown column."""
        if not conditions:
            return None
        return np.logical_and.reduce([self._one(condition) for condition in conditions])

    def _one(self, condition: Condition) -> Bools:
        found = self._masks.get(condition)
        if found is None:
            found = self._column(condition.column).fulfils(condition)
            self._masks.put(condition, found)
        return found

    def _column(self, name: str) -> Column:
        if name not in self._read:
            if name not in self.items.column_names:
                raise GenreError(f"the items have no column '{name}'; {suggest(name, self.items.column_names)}")
            self._read[name] = Column(self.items[name].to_pylist())
        return self._read[name]


class Corrected:
    """The columns of a model's items, with what the store has been told of some items since.

    A column that the store does not mention for an item is what the run's data say.
    """

    def __init__(self, base: Columns, rows: Mapping[str, int], told: Mapping[str, Mapping[str, Any]]) -> None:
        self.base, self.rows, self.told = base, rows, told
        self._read: dict[str, tuple[Ints, Column]] = {}
        self._masks: Cache[Condition, Bools] = Cache(MASKS)

    def mask(self, conditions: Sequence[Condition]) -> Bools | None:
        """The items that fulfil all conditions, None for no condition. Raises `GenreError` for an unknown column."""
        if not conditions:
            return None
        return np.logical_and.reduce([self._one(condition) for condition in conditions])

    def names(self) -> list[str]:
        """The columns that there are: those of the run's data, and what the store has been told beside."""
        return list(dict.fromkeys([*self.base.items.column_names, *(name for of in self.told.values() for name in of)]))

    def values(self, name: str, items: Sequence[str]) -> list[Any]:
        """A column of some items. Raises `GenreError` for an unknown column."""
        if name in self.base.items.column_names:
            given = self.base.items[name].take([self.rows[item] for item in items]).to_pylist()
        elif len(self._told(name)[0]):
            given = [None] * len(items)
        else:
            raise GenreError(f"the items have no column '{name}'; {suggest(name, self.names())}")
        return [self.told.get(item, {}).get(name, own) for item, own in zip(items, given, strict=True)]

    def _one(self, condition: Condition) -> Bools:
        found = self._masks.get(condition)
        if found is None:
            at, column = self._told(condition.column)
            if not len(at):
                return self.base.mask([condition])  # type: ignore[return-value]
            if condition.column in self.base.items.column_names:
                found = self.base.mask([condition]).copy()  # type: ignore[union-attr]
            else:
                found = Column([None] * self.base.items.num_rows).fulfils(condition)
            found[at] = column.fulfils(condition)
            self._masks.put(condition, found)
        return found

    def _told(self, name: str) -> tuple[Ints, Column]:
        if name not in self._read:
            known = [(self.rows[item], of[name]) for item, of in self.told.items() if name in of and item in self.rows]
            self._read[name] = np.array([row for row, _ in known], np.int32), Column([value for _, value in known])
        return self._read[name]


class Column:
    """One column: the words of each row, ragged, and the row as a number."""

    def __init__(self, values: list[Any]) -> None:
        self.values = values
        lists = [value if isinstance(value, list) else [value] for value in values]
        pairs = [(row, str(one)) for row, some in enumerate(lists) for one in some if one is not None]
        self.rows = np.array([row for row, _ in pairs], dtype=np.int32)
        self.codes = {word: code for code, word in enumerate(dict.fromkeys(word for _, word in pairs))}
        self.words = np.array([self.codes[word] for _, word in pairs], dtype=np.int32)

    @cached_property
    def numbers(self) -> Floats:
        """Each row as a number, NaN where it is none."""
        return np.array([_number(value) for value in self.values], dtype=np.float32)

    def fulfils(self, condition: Condition) -> Bools:
        """The rows that fulfil a condition; one without a value fulfils only what forbids."""
        good = np.ones(len(self.values), dtype=bool)
        if condition.any_of:
            good &= self._has(condition.any_of)
        if condition.none_of:
            good &= ~self._has(condition.none_of)
        if condition.low is not None:
            good &= self.numbers >= condition.low
        if condition.high is not None:
            good &= self.numbers <= condition.high
        return good

    def _has(self, words: Sequence[Word]) -> Bools:
        codes = [self.codes[word] for word in map(_word, words) if word in self.codes]
        found = np.zeros(len(self.values), dtype=bool)
        found[self.rows[np.isin(self.words, codes)]] = True
        return found


def _word(value: Word) -> str:
    """A value as a column's words are written: 3.0 is the word 3."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return float("nan")
    return float(value)


@dataclass(frozen=True)
class Allowed:
    """A `genre.filters.Filter`: what each person of a block may be shown, as a table of people and items."""

    table: Bools
    """``[people, items]``."""

    def keep(self, histories: Histories, items: pa.Table) -> Bools:
        """The table."""
        return self.table

    def among(self, histories: Histories, items: pa.Table, owner: Ints, item: Ints) -> Bools:
        """Its cells."""
        return self.table[owner, item]
