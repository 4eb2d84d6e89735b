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
    moved: dict[str, dict[str, int]] = field(default_factory=dict)
    """By reranker, the items of the slate that it moved: how many places up, or down where that is negative."""
    unmet: dict[str, list[str]] = field(default_factory=dict)
    """By reranker, what it was to keep and could not."""


@dataclass(frozen=True)
class Terms:
    """A scorer's scores of ``n`` candidates: the sums of ``base``, all of ``weighed`` and all of ``trees``."""

    base: Floats
    """``[n]``: what depends on no column, such as the mean of the trees; zeros where there is none."""
    weighed: dict[str, Floats]
    """By source, what its score adds in a weighed sum."""
    trees: dict[str, Floats] = field(default_factory=dict)
    """By column, what it adds in the trees (exact Shapley values); empty for scorers without trees."""
    weights: dict[str, Floats] = field(default_factory=dict)
    """By source, how much its standardised score counts: ``[n]``."""


@dataclass(frozen=True)
class Carried:
    """What one event of the history, or the text, adds to an item's score: how far the score falls without it."""

    item_id: str | None
    """The item of the event; None for the text."""
    title: str
    age: int
    """Events that came after it; 0 for the latest."""
    change: float
    """Score with it less the score without it; negative where the event speaks against the item."""
    rank_without: int
    """The item's rank without it, among the same candidates."""


@dataclass(frozen=True)
class Origin:
    """What one source says of an item."""

    source: str
    rank: int | None
    """Its place in the source's list; None where the source did not retrieve it."""
    score: float | None
    """On the source's own scale; None where it said nothing."""
    weight: float | None
    """How much the source's standardised score counts in the sum; None where the scorer does not say."""
    adds: float | None
    """What the source adds to the item's score in that sum."""


@dataclass(frozen=True)
class Explanation:
    """Why an item is in a slate: what was computed, and a sentence that says no more than that."""

    item_id: str
    title: str
    score: float
    """From the scorer and, where it is set, reading the top again; what rerankers did comes after it."""
    rank: int
    """By that score, among the candidates."""
    scorer_rank: int
    """By the scorer alone: another one where reading the top again moved it."""
    carried: list[Carried]
    """Events of the history and the text by what each adds, the largest first."""
    events: int
    """Events of the whole history; only as many of the latest as ``carried`` has were left out one by one."""
    origins: list[Origin]
    base: float | None
    """What the scorer's sum starts from; None where the scorer gives no terms."""
    terms: dict[str, float]
    """What each column adds: sources in the weighed sum by their name, columns in the trees as ``trees: column``. With
    ``base`` they add up to the scorer's score."""
    missing: dict[str, str]
    """Sources and heads that gave nothing, each with the reason."""
    predictions: dict[str, float] = field(default_factory=dict)
    """What each head says."""
    sentence: str = ""
    notes: list[str] = field(default_factory=list)
    """What else has to be known to read this: what was not looked at, what came after the score."""


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
