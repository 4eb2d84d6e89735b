"""Candidates without tables of all people times all items: each source's best, the pairs that filters let pass."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from genre.candidates import Candidates
from genre.errors import GenreError
from genre.indexes import Search
from genre.nearest import exact
from genre.ranking import top_lists
from genre.sources import Vectors
from genre.types import Bools, Floats, Ints

Indices = NDArray[np.int64]

Passes = Callable[[Indices, Indices], Bools]
"""Which pairs of a person and an item may be shown: ``[pairs], [pairs] -> [pairs]``."""


@dataclass
class Trace:
    """What happened on the way of a block of ``b`` people."""

    lists: dict[str, Ints] = field(default_factory=dict)
    """Candidates of each source, best first: ``[b, top_k]``, -1 where there are fewer."""
    removed: dict[str, Ints] = field(default_factory=dict)
    """``[b]`` by filter: items that a source ranked among its candidates and that may not be shown."""
    silent: dict[str, Bools] = field(default_factory=dict)
    """``[b]`` by source: it had nothing to say for this person."""
    failed: dict[str, str] = field(default_factory=dict)
    """Sources that raised, each with the message."""
    failed_heads: dict[str, str] = field(default_factory=dict)
    """Heads that raised, each with the message."""
    moved: dict[str, tuple[Ints, Ints]] = field(default_factory=dict)
    """By reranker, items ``[b, n]``, -1 where there is none, and how many places up each came."""
    unmet: dict[str, dict[str, Bools]] = field(default_factory=dict)
    """By reranker, what it was to keep, and for whom it could not: ``[b]``."""
    seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))

    @contextmanager
    def timed(self, step: str) -> Iterator[None]:
        """Add the time that the block takes to ``step``."""
        started = time.perf_counter()
        yield
        self.seconds[step] += time.perf_counter() - started

    def ranks(self, person: int) -> dict[str, dict[int, int]]:
        """By source, the places of the items in its list for a person, 1 the best."""
        lists = {name: enumerate(of[person].tolist(), 1) for name, of in self.lists.items()}
        return {name: {item: place for place, item in places if item >= 0} for name, places in lists.items()}

    def shifts(self, person: int) -> dict[str, dict[int, int]]:
        """By reranker, the items that it moved in a person's list, and by how many places up."""
        pairs = {
            name: zip(of[person].tolist(), by[person].tolist(), strict=True) for name, (of, by) in self.moved.items()
        }
        return {name: {item: up for item, up in of if item >= 0 and up} for name, of in pairs.items()}

    def told(self, person: int) -> dict[str, list[str]]:
        """By reranker, what it was to keep for a person and could not."""
        said = {name: [what for what, mask in of.items() if mask[person]] for name, of in self.unmet.items()}
        return {name: of for name, of in said.items() if of}

    def skipped(self, person: int) -> dict[str, str]:
        """The sources, and heads, that gave nothing for a person, each with the reason."""
        silent = {name: "nothing to say for this person" for name, mask in self.silent.items() if mask[person]}
        return silent | self.failures()

    def failures(self) -> dict[str, str]:
        """The sources, and heads, that raised, each with the message."""
        heads = {f"heads.{name}": why for name, why in self.failed_heads.items()}
        return {name: f"failed: {why}" for name, why in (self.failed | heads).items()}

    def insist(self) -> None:
        """Raise `GenreError` when a source failed: a reply may go without it, a measurement may not."""
        if self.failed:
            raise GenreError("; ".join(f"source {name} failed: {why}" for name, why in self.failed.items()))


@dataclass(frozen=True)
class Said:
    """What one source says of a block of people: it can be asked for its best items, and for the score of any pair."""

    n_items: int
    best: Callable[[Indices, int], tuple[Ints, Floats]]
    """The ``k`` best items of some of the people and their scores, as `genre.indexes.Search` gives them."""
    of: Callable[[Indices, Indices], Floats]
    """Scores of pairs of a person and an item."""
    silent: Bools
    """``[b]``: it has nothing to say for this person."""

    @classmethod
    def scores(cls, scores: Floats) -> Said:
        """From the scores of all items."""

        def best(people: Indices, k: int) -> tuple[Ints, Floats]:
            some = scores if len(people) == len(scores) else scores[people]
            rows = top_lists(some, np.broadcast_to(np.ones((1, 1), dtype=bool), some.shape), k)
            return rows, np.where(rows >= 0, np.take_along_axis(some, np.maximum(rows, 0), 1), -np.inf)

        silent = scores.max(1) == scores.min(1)
        return cls(scores.shape[1], best, lambda owner, item: scores[owner, item], silent)

    @classmethod
    def through(cls, search: Search, vectors: Vectors, people: Floats) -> Said:
        """From vectors of people, through an index of the items'."""
        n = len(vectors.items)
        # A vector that is not finite has nothing to say, like one of zeros.
        people = np.where(np.isfinite(people).all(1, keepdims=True), people, np.float32(0))

        def best(some: Indices, k: int) -> tuple[Ints, Floats]:
            return exact(vectors.items, people[some], n) if k >= n else search(people[some], k)

        def of(owner: Indices, item: Indices) -> Floats:
            return np.einsum("pd,pd->p", people[owner], vectors.items[item])

        return cls(n, best, of, np.asarray(~people.any(1)))


@dataclass(frozen=True)
class Retrieved:
    """The candidates of one source."""

    lists: Ints
    """``[b, top_k]``, best first; -1 where there are fewer."""
    walked: tuple[Indices, Indices]
    """People and items that it ranked among its candidates and that may not be shown."""


SHARE = 4
"""Where more than a fourth of the items would be looked for, all are."""


def retrieve(said: Said, passes: Passes, top_k: int, spare: int) -> Retrieved:
    """The ``top_k`` best that may be shown to each person, and what ranked as high and may not.

    At first ``spare`` items more are looked for than are needed; then twice as many for people who lack some, until
    there is nothing left. Items at a person's lowest score are no candidates: of them the source has nothing to say.
    """
    b, n = len(said.silent), said.n_items
    lists = np.full((b, top_k), -1, dtype=np.int32)
    walked: list[tuple[Indices, Indices]] = []
    people, wanted = np.flatnonzero(~said.silent), top_k + spare + 1
    while len(people):
        wanted = n if SHARE * wanted > n else wanted
        rows, scores = said.best(people, wanted)
        # With all at hand the last is the lowest. Of fewer, those as high as the last may be the lowest of all.
        last = np.where(rows >= 0, scores, np.inf).min(1, keepdims=True) if wanted >= n else scores[:, -1:]
        place, at = np.nonzero((rows >= 0) & (scores > last))
        items, values = rows[place, at].astype(np.int64), scores[place, at]
        good = passes(people[place], items)
        order = np.cumsum(good) - good
        starts = np.searchsorted(place, np.arange(len(people)))
        ahead = order - np.append(order, good.sum())[starts][place]
        found = np.bincount(place[good], minlength=len(people))
        done = (found >= top_k) | (wanted >= n)
        kept = good & done[place] & (ahead < top_k)
        lists[people[place[kept]], ahead[kept]] = items[kept]
        low = np.full(len(people), -np.inf, dtype=np.float32)
        full = kept & (ahead == top_k - 1)
        low[place[full]] = values[full]
        over = ~good & done[place] & (values >= low[place])
        walked.append((people[place[over]], items[over]))
        people, wanted = people[~done], 2 * wanted
    none = np.zeros(0, dtype=np.int64)
    owner, item = (np.concatenate(parts) for parts in zip((none, none), *walked, strict=True))
    return Retrieved(lists, (owner, item))


def merged(said: dict[str, Said], found: list[Retrieved], b: int, n_items: int) -> Candidates:
    """What any of the sources retrieved, with the scores of all: in order of person and item."""
    keys = [np.zeros(0, dtype=np.int64)]
    for one in found:
        owner, place = np.nonzero(one.lists >= 0)
        keys.append(owner * n_items + one.lists[owner, place])
    owner, item = np.divmod(np.unique(np.concatenate(keys)), n_items)
    offsets = np.concatenate([[0], np.cumsum(np.bincount(owner, minlength=b))]).astype(np.int64)
    scores = {name: np.asarray(one.of(owner, item), dtype=np.float32) for name, one in said.items()}
    return Candidates(offsets, item.astype(np.int32), scores)


def taken_out(found: list[Retrieved], rules: dict[str, Passes], b: int, n_items: int) -> dict[str, Ints]:
    """How many of each person's items every rule took out; one that several would take out counts for the first."""
    pairs = [one.walked[0] * n_items + one.walked[1] for one in found]
    keys = np.unique(np.concatenate([np.zeros(0, dtype=np.int64), *pairs]))
    owner, item = np.divmod(keys, n_items)
    removed: dict[str, Ints] = {}
    for name, passes in rules.items():
        good = passes(owner, item)
        removed[name] = np.bincount(owner[~good], minlength=b).astype(np.int32)
        owner, item = owner[good], item[good]
    return removed
