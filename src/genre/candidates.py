"""Candidates: the items that may be shown to a block of people, with what is known of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from genre.types import Bools, Floats, Ints


@dataclass(frozen=True)
class Candidates:
    """Ragged arrays over ``b`` people: person ``i`` owns ``offsets[i]:offsets[i + 1]``, items in catalogue order."""

    offsets: NDArray[np.int64]
    """``[b + 1]``."""
    item: Ints
    """Row of the items table."""
    scores: dict[str, Floats]
    """What each source says of each candidate, whether it retrieved it or not."""
    features: dict[str, Floats] = field(default_factory=dict)
    """What scorers that learn from more than scores may read besides; NaN where it is not known."""

    @classmethod
    def of(cls, allowed: Bools, scores: dict[str, Floats]) -> Candidates:
        """From ``[people, items]``: who may be shown what, and the sources' scores."""
        owner, item = np.nonzero(allowed)
        offsets = np.concatenate([[0], np.cumsum(allowed.sum(1))]).astype(np.int64)
        picked = {name: np.asarray(values[owner, item], dtype=np.float32) for name, values in scores.items()}
        return cls(offsets, item.astype(np.int32), picked)

    @classmethod
    def joined(cls, blocks: Sequence[Candidates]) -> Candidates:
        """Several blocks of people as one. They have the same columns."""
        lengths = np.concatenate([np.diff(block.offsets) for block in blocks])
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        scores, features = (
            {name: np.concatenate([getattr(b, kind)[name] for b in blocks]) for name in getattr(blocks[0], kind)}
            for kind in ("scores", "features")
        )
        return cls(offsets, np.concatenate([block.item for block in blocks]), scores, features)

    def __len__(self) -> int:
        return len(self.item)

    @property
    def people(self) -> int:
        """How many people there are, ``b``."""
        return len(self.offsets) - 1

    @property
    def owner(self) -> NDArray[np.int64]:
        """Which person each candidate is for."""
        return np.repeat(np.arange(self.people), np.diff(self.offsets))

    def keep(self, chosen: Bools) -> Candidates:
        """Only some of the candidates; the people stay."""
        ends = np.concatenate([[0], np.cumsum(chosen)])[self.offsets]
        scores, features = (
            {name: values[chosen] for name, values in one.items()} for one in (self.scores, self.features)
        )
        return Candidates(ends.astype(np.int64), self.item[chosen], scores, features)

    def of_people(self, chosen: Bools) -> Candidates:
        """Only some of the people."""
        kept = self.keep(chosen[self.owner])
        return replace(kept, offsets=np.concatenate([[0], np.cumsum(np.diff(self.offsets)[chosen])]).astype(np.int64))

    def holds(self, targets: Sequence[Ints]) -> Bools:
        """Which candidates are among their person's ``targets``."""
        width = 1 + max(int(self.item.max(initial=0)), *(int(one.max(initial=0)) for one in targets), 0)
        owner = np.repeat(np.arange(len(targets)), [len(one) for one in targets])
        items = np.concatenate([*targets, np.zeros(0, dtype=np.int32)]).astype(np.int64)
        return np.isin(self.owner * width + self.item, owner * width + items)

    def total(self, values: NDArray[Any]) -> NDArray[np.float64]:
        """Sum of the values of each person's candidates: ``[b]``."""
        return np.bincount(self.owner, weights=values, minlength=self.people).astype(np.float64)

    def best(self, values: Floats) -> Floats:
        """The highest value of each person's candidates: ``[b]``, -inf for people without any."""
        best = np.full(self.people, -np.inf, dtype=np.float32)
        some = np.flatnonzero(np.diff(self.offsets))
        if len(some):
            best[some] = np.maximum.reduceat(values, self.offsets[some])
        return best

    def thinned(self, chosen: Bools, most: int, seed: int) -> Bools:
        """Which candidates are left if each person keeps those ``chosen`` and ``most`` of the others, by lot."""
        draw = np.random.default_rng(seed).random(len(self)).astype(np.float32)
        draw[chosen] = 2.0
        places = self.places(draw)
        return chosen | (places <= most + self.total(chosen.astype(np.float32))[self.owner])

    def standardised(self, values: Floats) -> Floats:
        """Mean 0 and deviation 1 within each person; a constant, and one that is not finite, become 0."""
        good = np.isfinite(values)
        known = np.where(good, values, 0.0).astype(np.float64)
        n = np.maximum(self.total(good), 1)
        centred = np.where(good, known - (self.total(known) / n)[self.owner], 0.0)
        deviation = np.sqrt(self.total(np.square(centred)) / n)
        scale = np.where(deviation > 1e-6 * np.sqrt(self.total(np.square(known)) / n), deviation, np.inf)
        return (centred / scale[self.owner]).astype(np.float32)

    def top(self, values: Floats, k: int) -> tuple[Ints, Floats]:
        """The ``k`` best of each person and their values, equal ones by item: ``[b, k]``, -1 and -inf where fewer."""
        good = np.flatnonzero(np.isfinite(values))
        order = good[np.lexsort((self.item[good], -values[good], self.owner[good]))]
        owner = self.owner[order]
        place = np.arange(len(order)) - np.searchsorted(owner, owner)
        lists = np.full((self.people, k), -1, dtype=np.int32)
        best = np.full((self.people, k), -np.inf, dtype=np.float32)
        some = place < k
        lists[owner[some], place[some]] = self.item[order[some]]
        best[owner[some], place[some]] = values[order[some]]
        return lists, best

    def places(self, values: Floats) -> Ints:
        """Rank within each person, 1 the best: how many of their candidates are at least as high."""
        order = np.lexsort((-values, self.owner))
        ordered, owner = values[order], self.owner[order]
        last = np.ones(len(order), dtype=bool)
        last[:-1] = (ordered[:-1] != ordered[1:]) | (owner[:-1] != owner[1:])
        ends = np.flatnonzero(last)
        # Of equal ones all get the place of the last, so that a constant says nothing.
        at = ends[np.searchsorted(ends, np.arange(len(order)))]
        places = np.empty(len(order), dtype=np.int32)
        places[order] = at - self.offsets[owner] + 1
        return places

    def spread(self, values: Floats, n_items: int) -> Floats:
        """Values as ``[people, items]``, -inf for what is no candidate or not finite."""
        final = np.full((self.people, n_items), -np.inf, dtype=np.float32)
        final[self.owner, self.item] = np.where(np.isfinite(values), values, -np.inf)
        return final
