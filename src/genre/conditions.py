"""Conditions on items and the people who are shown them: ``year >= 1995 and not (genre == 'War' or user.age < 18)``.

Read by a parser of its own and never run as code. What is compared is a column of the items table, or, after ``user.``,
of the users table; a column of lists equals a word if it holds it. Where a value is missing, or the person unknown, no
comparison holds, `!=` neither: ``not user.age >= 18`` holds for people of unknown age, ``user.age < 18`` does not.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from genre.errors import DataError
from genre.itemcolumns import column, distinct, flat, spread
from genre.labels import COMPARE, NUMBER, WORD
from genre.sources import Resources
from genre.types import Bools, Ints

TOKEN = re.compile(
    rf"\s*(?:(?P<word>{WORD.pattern})|(?P<number>{NUMBER.pattern})|(?P<compare>>=|<=|==|!=|>|<)"
    r"|(?P<bracket>[()])|(?P<name>(?:user\.)?[A-Za-z_]\w*))"
)
DEEPEST = 50
"""Brackets within brackets at most."""
EXAMPLE = "year >= 1995 and not genre == 'War'"


@dataclass(frozen=True)
class Comparison:
    """One column against a number or a word."""

    name: str
    compare: str
    operand: float | str

    def holds(self, items: Callable[[str], Any], people: Callable[[str], Any]) -> Bools:
        """``[1, items]``, or ``[people, 1]`` for a column of the users."""
        side, dot, inside = self.name.partition(".")
        values = people(inside) if dot else items(side)
        row, said = flat(values)
        found = np.zeros(len(values), dtype=bool)
        hits = self._hits(said)
        if self.compare == "!=":
            # Of several words none may be it.
            found[row] = True
            found[row[~hits]] = False
        else:
            found[row[hits]] = True
        return found[:, None] if dot else found[None, :]

    def _hits(self, said: Any) -> Bools:
        import pyarrow as pa

        textual = pa.types.is_string(said.type) or pa.types.is_large_string(said.type)
        numeric = pa.types.is_integer(said.type) or pa.types.is_floating(said.type) or pa.types.is_boolean(said.type)
        if numeric and isinstance(self.operand, str):
            raise DataError(f"column '{self.name}' holds numbers; compare it with one, not with '{self.operand}'")
        if not numeric and not isinstance(self.operand, str):
            raise DataError(
                f"column '{self.name}' holds words; compare it with one in quotes, not with {self.operand:g}"
            )
        if numeric:
            values: Any = said.cast(pa.float64()).to_numpy(zero_copy_only=False)
        else:
            plain = said if textual else said.cast(pa.string())
            values = np.array(plain.to_pylist(), dtype=str)
        return np.asarray(COMPARE[self.compare](values, self.operand), dtype=bool)


@dataclass(frozen=True)
class Joined:
    """``not`` of one part, ``and`` or ``or`` of several."""

    word: str
    parts: tuple[Node, ...]

    def holds(self, items: Callable[[str], Any], people: Callable[[str], Any]) -> Bools:
        """``[people or 1, items or 1]``."""
        found = [part.holds(items, people) for part in self.parts]
        if self.word == "not":
            return ~found[0]
        joined = found[0]
        for one in found[1:]:
            joined = joined & one if self.word == "and" else joined | one
        return joined


Node = Comparison | Joined


@dataclass(frozen=True)
class Condition:
    """What can hold of an item, and of an item and a person."""

    text: str
    node: Node

    @classmethod
    def parse(cls, text: str) -> Condition:
        """Read a condition. Raises `ValueError` that says what was expected, and where."""
        return _parsed(text)

    def holds(self, items: Ints, users: Ints, resources: Resources) -> Bools:
        """Whether it holds of the ``items [b, n]`` of the lists of ``users [b]``; false where there is no item.

        Raises `DataError` for a column that is not there, or holds words where a number was given.
        """
        rows, at = distinct(items)
        known = np.flatnonzero(users >= 0)

        def of_users(name: str) -> Any:
            import pyarrow as pa

            found = column(resources.users, name, users[known].astype(np.int64), "users")
            whole = np.full(len(users), -1)
            whole[known] = np.arange(len(known))
            return found.take(pa.array(whole, mask=whole < 0))

        said = self.node.holds(lambda name: column(resources.items, name, rows, "items"), of_users)
        return spread(np.broadcast_to(said, (len(said), len(rows))), at, items)


@lru_cache(maxsize=256)
def _parsed(text: str) -> Condition:
    reader = _Reader(text)
    node = reader.either(0)
    if reader.kind:
        raise ValueError(f"'{text}': '{reader.value}' was not expected here; join comparisons by and, or")
    return Condition(text, node)


class _Reader:
    """Reads tokens one after another."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._tokens = self._read()
        self.kind, self.value = next(self._tokens)

    def _read(self) -> Iterator[tuple[str, str]]:
        at = 0
        while self.text[at:].strip():
            match = TOKEN.match(self.text, at)
            if not match:
                rest = self.text[at:].strip()
                raise ValueError(f"'{self.text}': cannot read '{rest}'; write a condition as in {EXAMPLE}")
            kind = next(name for name in ("word", "number", "compare", "bracket", "name") if match[name] is not None)
            yield kind, match[kind]
            at = match.end()
        while True:
            yield "", "the end"

    def next(self) -> str:
        """The value at hand; go on to the one after it."""
        value = self.value
        self.kind, self.value = next(self._tokens)
        return value

    def either(self, depth: int) -> Node:
        """Parts joined by ``or``."""
        return self._joined("or", lambda: self._joined("and", lambda: self._one(depth)))

    def _joined(self, word: str, part: Callable[[], Node]) -> Node:
        parts = [part()]
        while (self.kind, self.value) == ("name", word):
            self.next()
            parts.append(part())
        return parts[0] if len(parts) == 1 else Joined(word, tuple(parts))

    def _one(self, depth: int) -> Node:
        if depth > DEEPEST:
            raise ValueError(f"'{self.text[:60]}...': more than {DEEPEST} brackets or nots within each other")
        if (self.kind, self.value) == ("name", "not"):
            self.next()
            return Joined("not", (self._one(depth + 1),))
        if self.value == "(":
            self.next()
            inside = self.either(depth + 1)
            if self.value != ")":
                raise ValueError(f"'{self.text}': a bracket is not closed before {self.value}")
            self.next()
            return inside
        return self._comparison()

    def _comparison(self) -> Node:
        if self.kind != "name" or self.value in ("and", "or", "not"):
            raise ValueError(f"'{self.text}': expected a column, found {self.value}; write a condition as in {EXAMPLE}")
        name = self.next()
        if self.kind != "compare":
            raise ValueError(f"'{self.text}': compare '{name}' by one of {', '.join(COMPARE)}, found {self.value}")
        compare = self.next()
        if self.kind not in ("word", "number"):
            raise ValueError(f"'{self.text}': '{self.value}' is neither a number nor a quoted word")
        number = self.kind == "number"
        value = self.next()
        return Comparison(name, compare, float(value) if number else value[1:-1])
