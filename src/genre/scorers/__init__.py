"""Scorers: one score from the scores of several sources."""

from __future__ import annotations

from typing import Protocol

from genre.types import Bools, Floats, Ints, State


class Scorer(Protocol):
    """One way to combine."""

    def fit(self, scores: dict[str, Floats], allowed: Bools, targets: list[Ints]) -> State:
        """Choose settings on validation: ``scores [people, items]`` by source, what may be shown, what came next."""
        ...

    def score(self, state: State, scores: dict[str, Floats], allowed: Bools) -> Floats:
        """One score an item and person: ``[people, items]``; only ``allowed`` items count."""
        ...
