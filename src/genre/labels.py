"""Labels: what a task head learns, written as a short expression over the interactions."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from genre.component import suggest
from genre.data import Histories, Log
from genre.errors import DataError
from genre.types import Floats

COMPARE: dict[str, Callable[[Any, Any], Any]] = {
    ">=": operator.ge,
    "<=": operator.le,
    "==": operator.eq,
    "!=": operator.ne,
    ">": operator.gt,
    "<": operator.lt,
}
CHOSEN = "chosen"
"""The label that is 1 for what a person chose, 0 for what was shown and passed over or drawn as a negative."""
PATTERN = re.compile(r"\s*(?P<column>[A-Za-z_]\w*)\s*(?:(?P<compare>>=|<=|==|!=|>|<)\s*(?P<operand>.+?))?\s*")
NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")
WORD = re.compile(r"'([^']*)'|\"([^\"]*)\"")


@dataclass(frozen=True)
class Label:
    """``value``, ``value >= 4``, ``action == 'click'``: a column's amount, or 1 where a comparison holds, else 0."""

    column: str
    compare: str | None = None
    operand: float | str | None = None

    @classmethod
    def parse(cls, text: str) -> Label:
        """Read an expression. Raises `ValueError` that says what was expected."""
        match = PATTERN.fullmatch(text)
        if not match:
            raise ValueError(
                f"'{text}' is not a label; write a column or a comparison: value, value >= 4, action == 'click'"
            )
        column, compare, operand = match["column"], match["compare"], match["operand"]
        if compare is None:
            if column == "action":
                raise ValueError(f"'{text}': an action is a word; compare it, as in action == 'click'")
            return cls(column)
        return cls(column, compare, _operand(text, column, compare, operand))

    @property
    def binary(self) -> bool:
        """Whether it is 0 or 1."""
        return self.compare is not None

    def evaluate(self, log: Log) -> Floats:
        """The label of every row; NaN where its column has no value. Raises `DataError` without such a column."""
        if self.column == "action":
            return self._of_actions(log)
        if self.column == CHOSEN:
            return log.positive.astype(np.float32)
        if self.column in log.words:
            return self._of_words(log)
        known = {"value": log.value, **log.columns}
        if self.column not in known:
            raise DataError(
                f"label '{self.column}': the interactions have no such column; {suggest(self.column, list(known))}"
            )
        amounts = known[self.column]
        if isinstance(self.operand, str):
            raise DataError(
                f"label: column '{self.column}' holds numbers; compare it with one, not with '{self.operand}'"
            )
        if self.compare is None:
            return amounts
        holds = COMPARE[self.compare](amounts, self.operand).astype(np.float32)
        return np.where(np.isnan(amounts), np.float32(np.nan), holds)

    @property
    def of_history(self) -> bool:
        """Whether an event of a history has all that it needs: its amount or its action."""
        return self.column in ("value", "action")

    def of_events(self, histories: Histories, actions: Sequence[str]) -> Floats:
        """The label of every event of some histories; NaN where not known. Of labels `of_history` alone."""
        assert self.of_history
        if self.column == "action":
            assert self.compare is not None
            wanted = actions.index(str(self.operand)) if self.operand in actions else -2
            holds = COMPARE[self.compare](histories.action, wanted).astype(np.float32)
            return np.where(histories.action < 0, np.float32(np.nan), holds)
        if self.compare is None:
            return histories.value
        holds = COMPARE[self.compare](histories.value, self.operand).astype(np.float32)
        return np.where(np.isnan(histories.value), np.float32(np.nan), holds)

    def _of_words(self, log: Log) -> Floats:
        """Of a column of words its number, or whether it is one of them."""
        column = log.words[self.column]
        codes = np.where(column.code < 0, np.float32(np.nan), column.code.astype(np.float32))
        if self.compare is None:
            return codes
        if self.operand not in column.words:
            known = list(column.words)
            raise DataError(
                f"label: column '{self.column}' never says '{self.operand}'; {suggest(str(self.operand), known)}"
            )
        holds = COMPARE[self.compare](codes, column.words.index(str(self.operand))).astype(np.float32)
        return np.where(np.isnan(codes), np.float32(np.nan), holds)

    def _of_actions(self, log: Log) -> Floats:
        if self.operand not in log.actions:
            raise DataError(
                f"label: no action '{self.operand}' in the data; {suggest(str(self.operand), list(log.actions))}"
            )
        assert self.compare is not None
        return COMPARE[self.compare](log.action, log.actions.index(str(self.operand))).astype(np.float32)


def _operand(text: str, column: str, compare: str, operand: str) -> float | str:
    word = WORD.fullmatch(operand)
    if column == "action" or word:
        if not word or compare not in ("==", "!="):
            raise ValueError(f"'{text}': compare words, quoted, by == or !=, as in action == 'click'")
        return word[1] if word[1] is not None else word[2]
    if not NUMBER.fullmatch(operand):
        raise ValueError(f"'{text}': '{operand}' is neither a number nor a quoted word")
    return float(operand)
