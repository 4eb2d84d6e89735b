"""Features: what a scorer may read of a person and a candidate beside the sources' scores."""

from __future__ import annotations

from typing import Protocol

from genre.candidates import Candidates
from genre.data import Histories, Log
from genre.sources import Resources
from genre.types import Floats, State


class Feature(Protocol):
    """One or more columns of one origin. None depends on where an item was shown: clicks follow places."""

    def fit(self, log: Log, resources: Resources) -> State:
        """What is needed from the rows of ``log``; the model is read when it is asked, as there may be two."""
        ...

    def values(
        self, state: State, candidates: Candidates, histories: Histories, resources: Resources
    ) -> dict[str, Floats]:
        """Columns by name, one value a candidate, NaN where it is not known. Always the same names for one ``fit``."""
        ...
