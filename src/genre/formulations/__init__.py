"""Formulations: what the language model is given to read, and so what a prediction is made from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from genre.data import PARTS, Histories, Log
from genre.types import Ints


@dataclass(frozen=True)
class Asked:
    """``n`` questions, each about a row of the log, or about a person and an item that they did not choose."""

    row: NDArray[np.int64]
    """``[n]``: row of the log that says what became of it; -1 for a negative that was drawn."""
    user: Ints
    """``[n]``: row of the users table."""
    item: Ints
    """``[n]``: row of the items table."""
    group: Ints
    """``[n]``: questions of one group compete, as they were or might have been shown together; -1 for none."""
    person: NDArray[np.int64]
    """``[n]``: which of the histories is read with it."""
    histories: Histories
    """What people had done by then."""

    def __len__(self) -> int:
        return len(self.row)


Propose = Callable[[Histories, int], Ints]
"""The ``k`` items that a source would show each person, likely ones first: ``[people, k]``, -1 for none."""


class Formulation(Protocol):
    """One way to put recommending to a language model."""

    reads: ClassVar[Literal["items", "rows", "pairs"]]
    """A text is of an item, of a row of the interactions, or of a person's history and an item."""

    def ask(self, log: Log, part: str, seed: int, propose: Propose) -> Asked:
        """The questions that ``part`` of the log is made into, to train or to validate by; equal for equal seeds."""
        ...


def every_row(log: Log, part: str) -> Asked:
    """A question about each row of a part, without a history."""
    rows = np.flatnonzero(log.part == PARTS.index(part))
    nobody = Histories.of_items([[]])
    alone = np.zeros(len(rows), dtype=np.int64)
    return Asked(rows, log.user[rows], log.item[rows], log.impression[rows], alone, nobody)
