"""Scorers: one score from what is known of each candidate."""

from __future__ import annotations

from typing import ClassVar, Literal, Protocol

from genre.candidates import Candidates
from genre.types import Bools, Floats, State


class Scorer(Protocol):
    """One way to combine.

    It may have ``terms(state, candidates, asked)``: its scores of the ``asked`` candidates (their places in the arrays)
    as sums over the columns, exactly (`Terms`). An explanation shows them, and says so where a scorer has none.
    """

    reads: ClassVar[Literal["scores", "features"]]
    """The sources' scores alone, or features of ``pipeline.features`` too."""

    @property
    def most_people(self) -> int:
        """People to learn from at most; 0 where there is nothing to learn."""
        ...

    @property
    def negatives(self) -> int | None:
        """Candidates a person to learn from at most beside those chosen; None for all."""
        ...

    def fit(self, candidates: Candidates, chosen: Bools) -> State:
        """Learn on validation which candidates came next: ``chosen [candidates]``.

        Every person has a chosen one; there may be no people at all.
        """
        ...

    def score(self, state: State, candidates: Candidates) -> Floats:
        """One score a candidate, larger is better within a person: ``[candidates]``."""
        ...

    def shares(self, state: State) -> Floats:
        """How much each of the columns counts, scores before features: shares of a total of 1, or all zero."""
        ...
