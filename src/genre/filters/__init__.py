"""Filters: which candidates may not be shown, whatever their score."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from genre.data import Histories
from genre.types import Bools

if TYPE_CHECKING:
    import pyarrow as pa


class Filter(Protocol):
    """One rule.

    It may have ``among(histories, items, owner, item)``: the same for some pairs of a person and an item, ``[pairs]``,
    which is asked in its place where a table of all would be waste.
    """

    def keep(self, histories: Histories, items: pa.Table) -> Bools:
        """Which items each person may be shown: ``[people, items]``."""
        ...
