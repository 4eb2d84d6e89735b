"""Items whose text is like that of the history."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from pydantic import PositiveInt
from scipy import sparse

from genre.component import component
from genre.data import Histories, Log
from genre.sources import Resources, Vectors
from genre.types import Floats, State


@component
class ContentKNN:
    """Cosine of each item's text to the mean of the latest ones', by the pretrained language model as it came.

    Knows new items, and people who only say what they like (their text counts as one more item); knows nothing of who
    chose what, and nothing of an item without text. `bm25` finds the names and terms that vectors blur. It is also what
    the language model can do before any training.
    """

    top_k: PositiveInt = 300
    """Candidates to retrieve; more miss less and cost time."""
    window: PositiveInt = 10
    """Latest items whose mean is taken; larger is steadier and forgets what a person wants now."""
    GRID: ClassVar[dict[str, list[Any]]] = {"window": [1, 3, 10, 50]}

    def fit(self, log: Log, resources: Resources) -> State:
        return {"vectors": resources.text_vectors()}

    def extend(self, state: State, added: Resources) -> State:
        return {"vectors": np.concatenate([state["vectors"], added.text_vectors()])}

    def score(self, state: State, histories: Histories, resources: Resources) -> Floats:
        return self._people(state, histories, resources) @ state["vectors"].T

    def vectors(self, state: State, resources: Resources) -> Vectors:
        return Vectors(state["vectors"], lambda histories: self._people(state, histories, resources))

    def _people(self, state: State, histories: Histories, resources: Resources) -> Floats:
        vectors = state["vectors"]
        recent = histories.latest(self.window)
        ones = np.ones(len(recent.item), dtype=np.float32)
        latest = sparse.csr_matrix((ones, (recent.owner, recent.item)), shape=(len(histories), len(vectors)))
        people = np.asarray(latest @ vectors)
        # The language model is loaded when somebody has said something, and not before.
        said = [i for i, text in enumerate(histories.texts) if text and text.strip()]
        if said:
            people[said] += resources.embed([histories.texts[i] or "" for i in said])
        norm = np.linalg.norm(people, axis=1, keepdims=True)
        return (people / np.where(norm == 0, 1, norm)).astype(np.float32)
