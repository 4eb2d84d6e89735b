"""Sources: each scores all items for a person and so proposes candidates; every one is also a baseline."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from genre.data import Histories, Log
from genre.types import Floats, Recommender, State

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class Resources:
    """What a source or a feature may use beside the log."""

    items: pa.Table
    text_vectors: Callable[[], Floats]
    """Item texts as the pretrained language model sees them, before fine-tuning: ``[items, dim]``, unit length.

    Zeros for an item without text."""
    embed: Callable[[list[str]], Floats]
    """The same for any texts."""
    model: Recommender | None = None
    """The fine-tuned model, where there is one."""
    other: Callable[[Path], Recommender] | None = None
    """The fine-tuned model of another run folder, on the same data."""
    users: pa.Table | None = None
    """The users table, where there is one."""


@dataclass(frozen=True)
class Vectors:
    """A source whose scores are inner products, so that an index finds its best without asking of all items."""

    items: Floats
    """``[items, dim]``."""
    of: Callable[[Histories], Floats]
    """Vectors of people: ``[people, dim]``; times those of the items they are the scores."""


class Source(Protocol):
    """One way to find candidates. A class may carry ``GRID``: settings to try on validation, by field.

    One that reads texts may have ``extend(state, added)``: its state for a catalogue with further items behind the old
    ones, whose rows and vectors alone are in the resources ``added``; None where it cannot. The others are asked of the
    items that they were fitted on.

    One whose settings share work may have ``fit_each(tried, log, resources)``: the states of ``tried``, which are as it
    is but for fields in its ``GRID``, one after another, each as ``fit`` would give it.

    One whose scores are inner products may have ``vectors(state, resources)``: its `Vectors`, or None where it has none
    after all. In a large catalogue it is then asked through an index.
    """

    def fit(self, log: Log, resources: Resources) -> State:
        """Learn from the rows of ``log``; skips (``~log.positive``) are negatives at most."""
        ...

    def score(self, state: State, histories: Histories, resources: Resources) -> Floats:
        """Score of every item for each person, larger is better: ``[people, items]``.

        All zero (or any constant) where the source has nothing to say. Items already seen need no care: filters do it.
        """
        ...
