"""What a policy knows in a world: of items by what people did before and by their texts, of people by what they did."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from genre.environments import Doubles, World
from genre.types import Bools

Kind = Literal["nothing", "standing", "past", "text"]
SHRINK = 10.0
"""Rewards of an item that its own mean must outweigh, where the past does not tell how much items differ."""
FACTORS = 8
"""Numbers by which an item's appeal to some people and not to others is told."""
READ = 48
"""Directions of the texts' vectors from which an item's worth is guessed."""
TOPICS = 16
"""How many of them a policy may weigh by itself."""
SHARES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
"""Shares of the differences between items that texts may tell of; the past chooses."""


@dataclass(frozen=True)
class Knowledge:
    """Numbers of items that do not change while a world is played."""

    overall: float
    """What an item of which nothing is known is expected to earn."""
    counts: Doubles
    """``[items]``: rewards that each had before the world began."""
    sums: Doubles
    """``[items]``: their sum."""
    read: Doubles
    """``[items, r]``: what texts say, so long that its weights in an item's worth have variance 1; none without."""
    spread: float
    """Variance of items' worth beyond that."""
    scatter: float
    """Variance of rewards around an item's worth."""
    factors: Doubles
    """``[items, f]``: their products with a person's are what that person likes more or less than others do."""
    noise: float
    """Variance of rewards around both, beside the factors' own of 1."""

    @property
    def topics(self) -> Doubles:
        """``[items, t]``: what else a policy may weigh."""
        return self.read[:, :TOPICS]

    @property
    def standing(self) -> Doubles:
        """``[items]``: what each is expected to earn from someone unknown, before anything is shown."""
        return Standing(self).values()

    @classmethod
    def of(cls, world: World, kind: Kind, vectors: Doubles | None = None) -> Knowledge:
        """From the past of a world: what each item earned (``standing``), also from whom (``past``), also its text.

        The ``vectors`` of texts, ``[items, d]``, tell what items with like texts earned and from whom; of an item
        without a past, nothing else does.
        """
        past, n = world.past, len(world.new)
        seen, none = np.isfinite(past), np.zeros((n, 0))
        overall = float(past[seen].mean()) if seen.any() else 0.5
        if kind == "nothing":
            return cls(overall, np.zeros(n), np.zeros(n), none, 1 / SHRINK, 1.0, none, 1.0)
        counts, sums = seen.sum(0).astype(np.float64), np.where(seen, past, 0).sum(0)
        have = counts > 0
        own = sums / np.maximum(counts, 1)
        scatter = max(float(np.var((past - own)[seen])), 1e-4) if seen.any() else 1.0
        read = none if kind != "text" or vectors is None else _directions(vectors, have)
        told, spread = _shares((own - overall)[have], scatter / counts[have], read[have])
        made = cls(overall, counts, sums, read * np.sqrt(told), spread or scatter / SHRINK, scatter, none, scatter)
        if kind == "standing":
            return made
        left = np.where(seen, past - made.standing, 0.0)
        left -= left.sum(1, keepdims=True) / np.maximum(seen.sum(1, keepdims=True), 1) * seen
        _, sizes, directions = np.linalg.svd(left, full_matrices=False)
        f = min(FACTORS, len(sizes))
        factors = directions[:f].T * sizes[:f] / np.sqrt(len(past))
        noise = max(float(np.var(left[seen]) - np.square(factors).sum(1)[have].mean()), 1e-4)
        if kind == "text" and vectors is not None:
            factors = np.where(have[:, None], factors, _by_text(vectors, factors, have))
        return cls(overall, counts, sums, made.read, made.spread, scatter, factors, noise)

    def person(self, item: NDArray[np.int64], reward: Doubles) -> tuple[Doubles, float]:
        """A person's factors, and by how much they like all things more: ridge regression on what they did.

        ``reward`` is that beyond what each item earns from others.
        """
        rows = np.concatenate([np.ones((len(item), 1)), self.factors[item]], 1)
        gram = rows.T @ rows / self.noise + np.eye(rows.shape[1])
        gram[0, 0] += 9.0
        found = np.asarray(np.linalg.solve(gram, rows.T @ reward / self.noise), np.float64)
        return found[1:], float(found[0])


@dataclass
class Standing:
    """The belief in what each item is worth to someone unknown, which feedback changes.

    Gaussian: worth is what texts say, by weights that all items share, and something of the item's own. So a reward
    tells most of its own item and something of those with like texts. It is exact, and one reward costs ``r * r``.
    """

    knowledge: Knowledge
    counts: Doubles = field(init=False)
    sums: Doubles = field(init=False)
    gram: Doubles = field(init=False)
    moment: Doubles = field(init=False)

    def __post_init__(self) -> None:
        known = self.knowledge
        self.counts, self.sums = known.counts.copy(), known.sums.copy()
        pull, rows = self._pull(slice(None)), known.read
        self.gram = np.eye(rows.shape[1]) + (rows * pull[:, None]).T @ rows
        self.moment = rows.T @ (pull * self._beyond(slice(None)))

    def values(self) -> Doubles:
        """``[items]``: what is expected by now."""
        known = self.knowledge
        said = known.read @ np.linalg.solve(self.gram, self.moment) if known.read.shape[1] else 0.0
        own = known.spread * self._pull(slice(None))
        return np.asarray(known.overall + said + own * (self._beyond(slice(None)) - said), dtype=np.float64)

    def add(self, item: NDArray[np.int64], reward: Doubles) -> None:
        """Rewards have come; an item stands at most once among them."""
        for sign in (-1, 1):
            if sign > 0:
                self.counts[item] += 1
                self.sums[item] += reward
            rows, pull = self.knowledge.read[item], sign * self._pull(item)
            self.gram += (rows * pull[:, None]).T @ rows
            self.moment += rows.T @ (pull * self._beyond(item))

    def _pull(self, item: Any) -> Doubles:
        """How sure the own mean of items is of what texts say: 0 for those without a reward."""
        known, counts = self.knowledge, self.counts[item]
        return counts / (known.spread * counts + known.scatter)

    def _beyond(self, item: Any) -> Doubles:
        return self.sums[item] / np.maximum(self.counts[item], 1) - self.knowledge.overall


def _directions(vectors: Doubles, have: Bools) -> Doubles:
    """The directions in which texts differ most, of mean square length 1 together."""
    x = vectors - vectors.mean(0)
    _, _, directions = np.linalg.svd(x[have] if have.any() else x, full_matrices=False)
    found = x @ directions[:READ].T
    return found / max(float(np.sqrt(np.square(found).sum(1).mean())), 1e-12)


def _shares(own: Doubles, doubt: Doubles, read: Doubles) -> tuple[float, float]:
    """Variance of items' worth that texts tell of and that is beyond them, as the means of items are likeliest.

    ``doubt`` is the variance of each mean around the item's worth. Two zeros where the means do not differ.
    """
    best, found, size = -np.inf, (0.0, 0.0), float(np.square(own).mean()) if len(own) else 0.0
    for total in np.geomspace(0.1, 3, 9) * size if size > 0 else ():
        for share in SHARES if read.shape[1] else (0.0,):
            alone = total * (1 - share) + doubt
            rows = read * np.sqrt(total * share)
            inner, right = np.eye(read.shape[1]) + (rows / alone[:, None]).T @ rows, rows.T @ (own / alone)
            fit = (own**2 / alone).sum() - right @ np.linalg.solve(inner, right)
            likely = -np.log(alone).sum() - np.linalg.slogdet(inner)[1] - fit
            if likely > best:
                best, found = float(likely), (float(total * share), float(total * (1 - share)))
    return found


def _by_text(vectors: Doubles, known: Doubles, rows: Bools) -> Doubles:
    """What is ``known`` of some rows, as a ridge regression on texts for all.

    The strength of each column is that which guesses best what is left out, one row at a time.
    """
    x = vectors - vectors[rows].mean(0)
    kernel = x @ x[rows].T
    values, directions = np.linalg.eigh(kernel[rows])
    projected = directions.T @ known[rows]
    best, chosen = np.full(known.shape[1], np.inf), np.zeros((int(rows.sum()), known.shape[1]))
    for reg in np.geomspace(0.01, 100, 13) * max(float(values.mean()), 1e-12):
        solved = directions @ (projected / (values + reg)[:, None])
        inverse = np.square(directions) @ (1 / (values + reg))
        error = np.square(solved / inverse[:, None]).sum(0)
        chosen = np.where(error < best, solved, chosen)
        best = np.minimum(error, best)
    return kernel @ chosen
