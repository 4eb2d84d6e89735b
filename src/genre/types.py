"""The words that every layer shares."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int32]
Floats = NDArray[np.float32]
Bools = NDArray[np.bool_]
State = dict[str, Any]
"""What a component learned: names to NumPy arrays or SciPy sparse matrices, stored without pickle."""


@dataclass(frozen=True)
class Query:
    """One request: whose slate, and how long. ``history`` overrides what the data hold on ``user_id``."""

    user_id: str | None = None
    history: tuple[str, ...] | None = None
    """Item ids, oldest first."""
    text: str | None = None
    """What the person says they like; for people without a history."""
    k: int = 10


@dataclass
class Candidate:
    """An item on its way into a slate, with where it came from and what was predicted."""

    item_id: str
    score: float
    sources: dict[str, int]
    """The sources that retrieved it, each with the item's rank there (1 is best)."""
    predictions: dict[str, float] = field(default_factory=dict)
    """One value per task head."""


@dataclass
class Slate:
    """The answer to a query, with its trace: nothing is removed, skipped or slow without being named."""

    query: Query
    items: list[Candidate]
    removed: dict[str, int] = field(default_factory=dict)
    """How many candidates each filter took out."""
    skipped: dict[str, str] = field(default_factory=dict)
    """Sources that gave nothing, each with the reason."""
    seconds: dict[str, float] = field(default_factory=dict)
    """Time spent per step, for the whole batch that the query was answered in."""


class Recommender(Protocol):
    """What the layers below the stages see of a trained model."""

    @property
    def heads(self) -> dict[str, Any]:
        """The task heads by name."""
        ...

    @property
    def ranking_head(self) -> str | None:
        """The head that ranks all items; None if the model has none."""
        ...

    def score_next(self, histories: Any) -> Floats:
        """Score of every item as each person's next: ``[people, items]``."""
        ...

    def predict(self, head: str, histories: Any, items: Ints, owner: Ints | None = None) -> Floats:
        """Prediction of ``head`` for one item a person, on the label's own scale: ``[items]``.

        With ``owner`` each item is for that person of the histories, and a person may be asked of many.
        """
        ...

    def item_vectors(self) -> Floats:
        """Vectors of all items: ``[items, dim]``."""
        ...
