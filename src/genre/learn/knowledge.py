"""What a policy knows in a world: of items by what people did before and by their texts, of people by what they did."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from genre.environments import Doubles, World
from genre.types import Bools

Kind = Literal["nothing", "standing", "past", "text"]
SHRINK = 10.0
"""Rewards of an item that its own mean must outweigh."""
FACTORS = 8
"""Numbers by which an item's appeal to some people and not to others is told."""
TOPICS = 16
"""Directions of the texts' vectors that a policy may weigh by itself."""


@dataclass(frozen=True)
class Knowledge:
    """Numbers of items that do not change while a world is played."""

    standing: Doubles
    """``[items]``: what each is expected to earn from someone unknown, before anything is shown."""
    worth: Doubles
    """``[items]``: how many rewards that is worth, beside those that come in."""
    factors: Doubles
    """``[items, f]``: their products with a person's are what that person likes more or less than others do."""
    noise: float
    """Variance of rewards around that, beside the factors' own of 1."""
    topics: Doubles
    """``[items, t]``: what else a policy may weigh."""

    @classmethod
    def of(cls, world: World, kind: Kind, vectors: Doubles | None = None) -> Knowledge:
        """From the past of a world: what each item earned (``standing``), also from whom (``past``), also its text.

        Of an item without a past, the ``vectors`` of texts, ``[items, d]``, tell what items with like texts earned and
        from whom; nothing else does.
        """
        past, n = world.past, len(world.new)
        seen = np.isfinite(past)
        overall = float(past[seen].mean()) if seen.any() else 0.5
        if kind == "nothing":
            return cls(np.full(n, overall), np.full(n, SHRINK), np.zeros((n, 0)), 1.0, np.zeros((n, 0)))
        counts = seen.sum(0)
        worth = counts + SHRINK
        mean = (np.where(seen, past, 0).sum(0) + SHRINK * overall) / (counts + SHRINK)
        if kind == "standing":
            return cls(mean, worth, np.zeros((n, 0)), max(float(np.var((past - mean)[seen])), 1e-4), np.zeros((n, 0)))
        left = np.where(seen, past - mean, 0.0)
        left -= left.sum(1, keepdims=True) / np.maximum(seen.sum(1, keepdims=True), 1) * seen
        _, sizes, directions = np.linalg.svd(left, full_matrices=False)
        f = min(FACTORS, len(sizes))
        factors = directions[:f].T * sizes[:f] / np.sqrt(len(past))
        spread = max(float(np.var(left[seen]) - np.square(factors).sum(1)[counts > 0].mean()), 1e-4)
        if kind == "past" or vectors is None:
            return cls(mean, worth, factors, spread, np.zeros((n, 0)))
        guess = _by_text(vectors, np.concatenate([mean[:, None] - overall, factors], 1), counts > 0)
        none = counts == 0
        mean, factors = mean.copy(), factors.copy()
        mean[none], factors[none] = overall + guess[none, 0], guess[none, 1:]
        return cls(mean, worth, factors, spread, _topics(vectors, float(mean.std())))

    def person(self, item: NDArray[np.int64], reward: Doubles) -> tuple[Doubles, float]:
        """A person's factors, and by how much they like all things more: ridge regression on what they did.

        ``reward`` is that beyond what each item earns from others.
        """
        rows = np.concatenate([np.ones((len(item), 1)), self.factors[item]], 1)
        gram = rows.T @ rows / self.noise + np.eye(rows.shape[1])
        gram[0, 0] += 9.0
        found = np.asarray(np.linalg.solve(gram, rows.T @ reward / self.noise), np.float64)
        return found[1:], float(found[0])


def _by_text(vectors: Doubles, known: Doubles, rows: Bools) -> Doubles:
    """What is ``known`` of some rows, as a ridge regression on texts for all; its strength by leaving one out."""
    x = vectors - vectors[rows].mean(0)
    kernel = x @ x[rows].T
    values, directions = np.linalg.eigh(kernel[rows])
    projected = directions.T @ known[rows]
    best, chosen = np.inf, np.zeros((int(rows.sum()), known.shape[1]))
    for reg in np.geomspace(0.01, 100, 13) * max(float(values.mean()), 1e-12):
        solved = directions @ (projected / (values + reg)[:, None])
        inverse = np.square(directions) @ (1 / (values + reg))
        error = float(np.square(solved / inverse[:, None]).sum())
        if error < best:
            best, chosen = error, solved
    return kernel @ chosen


def _topics(vectors: Doubles, spread: float) -> Doubles:
    """The directions in which texts differ most, as large together as items differ in what they earn."""
    x = vectors - vectors.mean(0)
    _, _, directions = np.linalg.svd(x, full_matrices=False)
    found = x @ directions[:TOPICS].T
    return found * spread / max(float(np.sqrt(np.square(found).sum(1).mean())), 1e-12)
