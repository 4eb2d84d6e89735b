"""Variety."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from pydantic import Field, PositiveInt

from genre.component import component
from genre.data import Histories
from genre.errors import DataError
from genre.rerankers import Arranged, Lists
from genre.sources import Resources
from genre.types import Floats, Ints

BLOCK = 256
"""People whose items are compared at a time."""


@component
class MMR:
    """Maximal marginal relevance: each next item is good, and unlike those above it (cosine of their vectors).

    Take it against lists of one thing in ten editions; `quota` counts what a column says instead, and says how much.
    Carbonell and Goldstein (1998), https://doi.org/10.1145/290941.291025.
    """

    relevance: Annotated[float, Field(ge=0, le=1)] = 0.8
    """How much an item's score counts, and one minus it how unlike it is; larger varies less, 1 changes nothing. Scores
    are put between 0 and 1 within the list."""
    vectors: Literal["pretrained", "finetuned"] = "pretrained"
    """Those of the item texts from the language model as it came, or of the trained model (`two_tower` alone has
    them), by which items are alike that the same people choose."""
    top: PositiveInt = 50
    """Places that are arranged; more brings variety from further down and costs time by the square."""

    def order(self, lists: Lists, histories: Histories, resources: Resources) -> Arranged:
        if not lists.item.size:
            return Arranged(lists.item)
        vectors = self._vectors(resources)
        starts = range(0, len(lists.item), BLOCK)
        blocks = [self._order(lists.item[i : i + BLOCK], lists.score[i : i + BLOCK], vectors) for i in starts]
        return Arranged(np.concatenate(blocks))

    def _vectors(self, resources: Resources) -> Floats:
        if self.vectors == "pretrained":
            return resources.text_vectors()
        if resources.model is None:
            raise DataError("reranker 'mmr': vectors are finetuned, and there is no trained model here")
        return resources.model.item_vectors()

    def _order(self, items: Ints, scores: Floats, vectors: Floats) -> Ints:
        real = items >= 0
        own = vectors[np.maximum(items, 0)]
        norm = np.linalg.norm(own, axis=2, keepdims=True)
        own = own / np.where(norm > 0, norm, 1)
        alike = np.einsum("bnd,bmd->bnm", own, own)
        value = np.where(real, self.relevance * _between(scores, real), -np.inf)
        nearest = np.zeros(items.shape, dtype=np.float32)
        order, people = np.full(items.shape, -1, dtype=np.int32), np.arange(len(items))
        for place in range(items.shape[1]):
            chosen = np.argmax(value - (1 - self.relevance) * nearest, axis=1)
            left = np.isfinite(value[people, chosen])
            order[left, place] = chosen[left]
            value[people, chosen] = -np.inf
            similar = alike[people, :, chosen]
            nearest = similar if place == 0 else np.maximum(nearest, similar)
        return order


def _between(scores: Floats, real: np.ndarray) -> Floats:
    """Scores from 0, the lowest of the list, to 1; of equal ones all 1."""
    low = np.where(real, scores, np.inf).min(1, keepdims=True)
    high = np.where(real, scores, -np.inf).max(1, keepdims=True)
    span = np.where(high > low, high - low, 1)
    return np.where(real & (high > low), (np.where(real, scores, 0) - np.where(np.isfinite(low), low, 0)) / span, 1.0)
