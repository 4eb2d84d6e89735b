"""Item texts from templates, and token batches without padding to a fixed length."""

from __future__ import annotations

import re
import string
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from genre.component import suggest
from genre.errors import ConfigError

if TYPE_CHECKING:
    import pyarrow as pa


def columns_of(template: str) -> list[str]:
    """The columns that a template names. Raises `ConfigError` where its braces do not match."""
    try:
        return [name for _, name, _, _ in string.Formatter().parse(template) if name is not None]
    except ValueError as error:
        raise ConfigError([f"model.template: '{template}': {error}"]) from error


def render(items: pa.Table, template: str) -> list[str]:
    """Each item's text by the template: lists are joined by commas, a missing value leaves nothing behind.

    Raises `ConfigError` when the template names a column that the items do not have.
    """
    names = columns_of(template)
    for name in names:
        if name not in items.column_names:
            raise ConfigError(
                [f"model.template: the items have no column '{name}'; {suggest(name, items.column_names)}"]
            )
    columns = [[_words(value) for value in items[name].to_pylist()] for name in names]
    if not columns:
        return [template] * items.num_rows
    return [_tidy(template.format(**dict(zip(names, values, strict=True)))) for values in zip(*columns, strict=True)]


def _words(value: Any) -> str:
    if value is None:
        return ""
    return ", ".join(str(word) for word in value) if isinstance(value, list) else str(value).strip()


def _tidy(text: str) -> str:
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
