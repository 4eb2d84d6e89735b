"""How like an item's text is to those of the history."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import PositiveInt

from genre.candidates import Candidates
from genre.component import component
from genre.data import Histories, Log
from genre.errors import GenreError
from genre.sources import Resources
from genre.types import Floats, Ints, State

BLOCK = 1 << 16
"""Candidates compared at a time."""


@component
class TextSimilarity:
    """Cosine of the candidate's text to the latest item's, and the highest and the mean one to those of the latest few.

    Knows items that nobody has chosen yet. `content_knn` ranks by the like of it; here it is one column among many.
    """

    window: PositiveInt = 5
    """Latest items compared with; larger remembers more and costs time in proportion."""
    vectors: Literal["pretrained", "finetuned"] = "pretrained"
    """From the language model as it came, or those of the trained model's item tower (`two_tower` alone has them)."""

    def fit(self, log: Log, resources: Resources) -> State:
        return {"vectors": resources.text_vectors()} if self.vectors == "pretrained" else {}

    def extend(self, state: State, added: Resources) -> State | None:
        if "vectors" not in state:
            return state
        return {"vectors": np.concatenate([state["vectors"], added.text_vectors()])}

    def values(
        self, state: State, candidates: Candidates, histories: Histories, resources: Resources
    ) -> dict[str, Floats]:
        vectors = self._vectors(state, resources)
        recent = histories.latest(self.window)
        columns = np.full((3, len(candidates)), np.nan, dtype=np.float32)
        owner = candidates.owner
        for i in range(0, len(candidates), BLOCK):
            part = slice(i, i + BLOCK)
            columns[:, part] = _similar(vectors, recent, owner[part], candidates.item[part], self.window)
        return {
            f"text_similarity.{name}": column for name, column in zip(("last", "most", "mean"), columns, strict=True)
        }

    def _vectors(self, state: State, resources: Resources) -> Floats:
        if "vectors" in state:
            return state["vectors"]
        if resources.model is None:
            raise GenreError("feature 'text_similarity': vectors are finetuned, and there is no trained model here")
        vectors = resources.model.item_vectors()
        norm = np.linalg.norm(vectors, axis=1, keepdims=True)
        return (vectors / np.where(norm == 0, 1, norm)).astype(np.float32)


def _similar(vectors: Floats, recent: Histories, owner: NDArray[np.int64], item: Ints, window: int) -> Floats:
    """Cosine to the latest, the highest and the mean: ``[3, candidates]``, NaN without a history, and without text."""
    all_of_them = np.full((window, len(owner)), np.nan, dtype=np.float32)
    own, told = vectors[item], np.square(vectors).sum(1) > 0
    for age in range(window):
        known = np.flatnonzero((recent.lengths[owner] > age) & told[item])
        before = recent.item[recent.offsets[owner[known] + 1] - 1 - age]
        known, before = known[told[before]], before[told[before]]
        all_of_them[age, known] = np.einsum("nd,nd->n", vectors[before], own[known])
    n = np.isfinite(all_of_them).sum(0)
    most = np.fmax.reduce(all_of_them)
    mean = np.where(n > 0, np.nansum(all_of_them, 0) / np.maximum(n, 1), np.nan)
    return np.stack([all_of_them[0], most, mean])
