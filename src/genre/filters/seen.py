"""Nothing twice."""

from __future__ import annotations

from typing import TYPE_CHECKING

from genre.component import component
from genre.data import Histories
from genre.types import Bools

if TYPE_CHECKING:
    import pyarrow as pa


@component
class Seen:
    """Takes out what is in the person's history. Leave it away where people come back to things (music, groceries)."""

    def keep(self, histories: Histories, items: pa.Table) -> Bools:
        return histories.matrix(items.num_rows).toarray() == 0
