"""Metrics: how good a ranking, a prediction or a set of slates is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from genre.types import Floats, Ints

if TYPE_CHECKING:
    import pyarrow as pa

Values = dict[str, NDArray[np.float64]]
"""By name (``ndcg@10``): one value a unit ``[units]``, NaN where undefined, or a single number ``[]`` for the whole."""


@dataclass(frozen=True)
class Ranking:
    """How one system ranked, over ``n`` units (users, or impressions)."""

    ranks: list[Ints]
    """For each unit the rank of every relevant item, 1 the best; equal scores count against the system."""
    n_candidates: Ints
    """Items ranked in each unit."""
    lists: Ints
    """``[n, K]``: rows of the items on top, best first; -1 where there are fewer."""
    item_counts: Ints
    """``[items]``: interactions of each item in training."""
    item_vectors: Floats
    """``[items, dim]``: unit vectors of the item texts from the pretrained model, the same for all systems."""
    items: pa.Table | None = None
    """The items table, for measures that group items by a column."""


@dataclass(frozen=True)
class Predictions:
    """What one system predicted of a label, over ``n`` rows."""

    truth: Floats
    """``[n]``: the label; of tokens the class of each, 0 outside, 1 + 2k first and 2 + 2k inside a place of label k."""
    prediction: Floats
    """``[n]``: a probability for a binary task, an amount for a regression, for tokens the likeliest class, for a text
    the mean log-likelihood of its tokens. For a multiclass task ``[n, classes]``, the probability of each."""
    group: Ints
    """``[n]``: user or impression of each row, for grouped metrics; of tokens, which stand in order, their text."""
    classes: Floats | None = None
    """``[classes]``: for a multiclass task the label, ascending, that each column of ``prediction`` stands for."""

    @property
    def place(self) -> Ints:
        """``[n]``: the column of each row's label; -1 where it is none of ``classes``."""
        assert self.classes is not None
        at = np.searchsorted(self.classes, self.truth).clip(max=len(self.classes) - 1)
        return np.where(self.classes[at] == self.truth, at, -1).astype(np.int32)


class Metric(Protocol):
    """One measure. ``needs`` says of what."""

    needs: ClassVar[Literal["ranking", "binary", "regression", "multiclass", "tokens", "text"]]
    larger_is_better: ClassVar[bool | None]
    """None for a description that is neither good nor bad in itself."""

    def measure(self, outcome: Ranking | Predictions) -> Values:
        """Values by name; a metric with cut-offs gives one a cut-off."""
        ...
