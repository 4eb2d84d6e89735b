"""Readers: from files as they are published, or as a shop exports them, to rows of one schema."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass
class Reading:
    """What a reader found. Columns that the source lacks may be left out; ids may repeat; nothing is checked yet."""

    interactions: pa.Table
    """``user_id``, ``item_id`` and what there is of ``action value timestamp impression_id position propensity part``,
    further columns, and ``file`` and ``line`` (where each row stands, for messages). Numbers may still be words."""
    items: pa.Table | None = None
    """``item_id``, text columns (``title``, ...), ``categories`` (list of words), further attributes."""
    users: pa.Table | None = None
    """``user_id`` and attributes (``gender``, ``age``, ...)."""
    rejected: list[dict[str, object]] = field(default_factory=list)
    """Rows that could not be parsed: ``file``, ``line``, ``reason``, ``row`` (its text)."""
    name: str = ""
    source: str = ""
    licence: str = ""


class Reader(Protocol):
    """One format of log."""

    def files(self) -> list[Path]:
        """The files it will read. Raises `DataError` that says how to get them where they are missing."""
        ...

    def read(self) -> Reading:
        """Read everything. Raises `DataError` (file, line, column, what to do) where nothing can be read."""
        ...
