"""Only items of a kind."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from genre.component import component, suggest
from genre.data import Histories
from genre.errors import ConfigError
from genre.types import Bools, Ints

if TYPE_CHECKING:
    import pyarrow as pa


@component
class Attribute:
    """Keeps items by a column of the items table: one of some values, or none of others (``only``, ``never``)."""

    column: str = "categories"
    """The column; a list matches by any of its words."""
    only: tuple[str, ...] = ()
    """Values to keep; none given keeps all."""
    never: tuple[str, ...] = ()
    """Values to take out, whatever else holds."""

    def keep(self, histories: Histories, items: pa.Table) -> Bools:
        return np.tile(self._good(items), (len(histories), 1))

    def among(self, histories: Histories, items: pa.Table, owner: Ints, item: Ints) -> Bools:
        rows, at = np.unique(item, return_inverse=True)
        named = [name for name in items.column_names if name == self.column]
        return self._good(items.select(named).take(rows) if named else items)[at]

    def _good(self, items: pa.Table) -> Bools:
        if self.column not in items.column_names:
            hint = suggest(self.column, items.column_names)
            raise ConfigError([f"pipeline.filters: the items have no column '{self.column}'; {hint}"])
        words = [_words(value) for value in items[self.column].to_pylist()]
        good = [(not self.only or bool(w & {*self.only})) and not w & {*self.never} for w in words]
        return np.array(good, dtype=bool)


def _words(value: Any) -> set[str]:
    return {str(one) for one in (value if isinstance(value, list) else [value]) if one is not None}
