"""Item texts from templates, and token batches without padding to a fixed length."""

from __future__ import annotations

import re
import string
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from genre.component import suggest
from genre.errors import ConfigError, DataError

if TYPE_CHECKING:
    import pyarrow as pa


Cut = Callable[[str, int], str]
"""The beginning of a text that has at most so many tokens."""


@dataclass(frozen=True)
class Field:
    """A piece of a template: words, and what follows them."""

    words: str
    column: str | None
    """What to put behind the words; None for nothing."""
    budget: int | None
    """Most tokens of it."""


def parse(template: str) -> list[Field]:
    """The pieces of a template such as ``{title:20}. {review}``. Raises `ConfigError` where it is none."""
    try:
        found = [(words, name, spec) for words, name, spec, _ in string.Formatter().parse(template)]
    except ValueError as error:
        raise ConfigError([f"model.template: '{template}': {error}"]) from error
    for _, name, spec in found:
        if spec and not (spec.isdecimal() and int(spec)):
            raise ConfigError([f"model.template: '{{{name}:{spec}}}': after the colon stands a number of tokens"])
    return [Field(words, name, int(spec) if spec else None) for words, name, spec in found]


def columns_of(template: str) -> list[str]:
    """The columns that a template names. Raises `ConfigError` where its braces do not match."""
    return [field.column for field in parse(template) if field.column is not None]


def render(table: pa.Table, template: str, cut: Cut | None = None, as_is: bool = False) -> list[str]:
    """Each row's text by the template: lists are joined by commas, a missing value leaves nothing behind.

    ``cut`` keeps the token budgets that the template gives. ``as_is`` leaves every character in its place, for labels
    that count them. Raises `ConfigError` when the template names a column that is not there.
    """
    for name in columns_of(template):
        if name not in table.column_names:
            raise ConfigError([f"model.template: there is no column '{name}'; {suggest(name, table.column_names)}"])
    pieces: list[list[str]] = []
    for field in parse(template):
        values = [""] * table.num_rows if field.column is None else words_of(table, field.column, as_is)
        if field.budget and cut:
            values = [cut(value, field.budget) for value in values]
        pieces.append([field.words + value for value in values])
    whole = ["".join(row) for row in zip(*pieces, strict=True)] if pieces else [""] * table.num_rows
    return whole if as_is else [tidy(text) for text in whole]


def texts_of(items: pa.Table, text: str, setting: str) -> list[str]:
    """Each item's text by what a setting says: a column, or a template. Raises `DataError` for a missing column."""
    template = text if "{" in text else f"{{{text}}}"
    for name in columns_of(template):
        if name not in items.column_names:
            raise DataError(f"{setting}: the items have no column '{name}' to read")
    return render(items, template)


def words_of(table: pa.Table, column: str, as_is: bool = False) -> list[str]:
    """A column as words, without blanks around them unless ``as_is``."""
    values = table[column].to_pylist()
    return [value if as_is and isinstance(value, str) else _words(value) for value in values]


def _words(value: Any) -> str:
    if value is None:
        return ""
    return ", ".join(str(word) for word in value) if isinstance(value, list) else str(value).strip()


def tidy(text: str) -> str:
    """Take away what a missing value leaves behind: empty brackets, a space before a stop, a stop at the beginning."""
    text = re.sub(r"\(\s*\)|\[\s*\]", "", text)
    text = re.sub(r"\s+([.,;:!?])", r"\1", re.sub(r"\s+", " ", text))
    text = re.sub(r"([.,;:!?])[.,;:]+", r"\1", text)
    return text.lstrip(" .,;:").rstrip(" ,;:")


@dataclass(frozen=True)
class TokenBatch:
    """Some texts of similar length, padded to the longest of them."""

    rows: NDArray[np.int64]
    """Which texts."""
    length: int
    """Tokens after padding."""


def batches_by_length(lengths: NDArray[np.int64], token_budget: int, slack: float = 1.15) -> Iterator[TokenBatch]:
    """Divide texts into batches of near-equal length, each of at most ``token_budget`` tokens with padding.

    A batch ends where padding would add more than ``slack`` allows, so that little time is spent on nothing.
    """
    order = np.argsort(lengths, kind="stable")
    start = 0
    while start < len(order):
        stop, real = start, 0
        while stop < len(order):
            longest = int(lengths[order[stop]])
            padded = longest * (stop + 1 - start)
            real += longest
            if stop > start and (padded > token_budget or (padded > slack * real and padded > token_budget // 8)):
                break
            stop += 1
        rows = order[start:stop]
        yield TokenBatch(rows, int(lengths[rows].max()))
        start = stop
