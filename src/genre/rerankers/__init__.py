"""Rerankers: the order of a list for more than its scores: variety, quotas, fairness, rules of the house."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from genre.data import Histories
from genre.sources import Resources
from genre.types import Bools, Floats, Ints


@dataclass(frozen=True)
class Lists:
    """The tops of the lists of ``b`` people, as they stand."""

    item: Ints
    """``[b, n]``: rows of the items table, best first; -1 where there are fewer, all of these last."""
    score: Floats
    """``[b, n]``: the final score of each; -inf where there is no item. Larger is better within a person alone."""

    @property
    def lengths(self) -> Ints:
        """How many items each person has: ``[b]``."""
        return (self.item >= 0).sum(1).astype(np.int32)


@dataclass(frozen=True)
class Arranged:
    """A new order."""

    order: Ints
    """``[b, n]``: places in the list as it stood, in their new order, -1 after the last. A place that is not there is
    taken out."""
    unmet: dict[str, Bools] = field(default_factory=dict)
    """What was to be kept, in words, and for whom it could not be: ``[b]``."""


class ListReranker(Protocol):
    """One way to arrange a list once everything in it has its score."""

    @property
    def top(self) -> int | None:
        """Places that it may change; None for the whole list, which one that takes items out has to see."""
        ...

    def order(self, lists: Lists, histories: Histories, resources: Resources) -> Arranged:
        """The order of everybody's list: each person's depends on theirs alone.

        Raises `DataError` for a column that the tables do not have, also where there is nobody to answer.
        """
        ...
