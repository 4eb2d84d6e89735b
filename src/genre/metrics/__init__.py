"""Metrics: how good a ranking, a prediction or a set of slates is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from genre.types import Floats, Ints

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


@dataclass(frozen=True)
class Predictions:
    """What one system predicted of a label, over ``n`` rows."""

    truth: Floats
    prediction: Floats
    """A probability for a binary task, an amount for a regression."""
    group: Ints
    """User or impression of each row, for grouped metrics."""
    classes: Floats | None = None
    """``[c]``: for a multiclass task, the label that each column of ``prediction [n, c]`` stands for."""


class Metric(Protocol):
    """One measure. ``needs`` says of what."""

    needs: ClassVar[Literal["ranking", "binary", "regression"]]
    larger_is_better: ClassVar[bool | None]
    """None for a description that is neither good nor bad in itself."""

    def measure(self, outcome: Ranking | Predictions) -> Values:
        """Values by name; a metric with cut-offs gives one a cut-off."""
        ...
