"""Filters: which candidates may not be shown, whatever their score."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from genre.data import Histories
from genre.types import Bools

if TYPE_CHECKING:
    import pyarrow as pa


class Filter(Protocol):
    """One rule."""

    def keep(self, histories: Histories, items: pa.Table) -> Bools:
        """Which items each person may be shown: ``[people, items]``."""
        ...
