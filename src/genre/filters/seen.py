"""Nothing twice."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from genre.component import component
from genre.data import Histories
from genre.types import Bools, Ints

if TYPE_CHECKING:
    import pyarrow as pa


@component
class Seen:
    """Takes out what is in the person's history. Leave it away where people come back to things (music, groceries)."""

    def keep(self, histories: Histories, items: pa.Table) -> Bools:
        keep = np.ones((len(histories), items.num_rows), dtype=bool)
        keep[histories.owner, histories.item] = False
        return keep

    def among(self, histories: Histories, items: pa.Table, owner: Ints, item: Ints) -> Bools:
        n = items.num_rows
        return ~np.isin(owner.astype(np.int64) * n + item, histories.owner * n + histories.item)
