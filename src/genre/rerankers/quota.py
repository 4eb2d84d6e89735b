"""So many of these, and no more of those."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import AfterValidator, Field, PositiveInt

from genre.component import component
from genre.conditions import Condition
from genre.data import Histories
from genre.itemcolumns import distinct, words
from genre.rerankers import Arranged, Lists
from genre.sources import Resources
from genre.types import Bools, Ints

PATTERN = re.compile(r"\s*at (?P<side>least|most)\s+(?P<share>\d+(\.\d+)?)\s*%\s+where\s+(?P<when>.+)", re.DOTALL)


def split_limit(text: str) -> tuple[Literal["least", "most"], float, Condition]:
    """Which limit, the share, and of what. Raises `ValueError` that says what is wrong."""
    match = PATTERN.fullmatch(text)
    if not match:
        raise ValueError(f"'{text}' is no limit; write at least N% where ..., or at most N% where ...")
    share = float(match["share"]) / 100
    if share > 1:
        raise ValueError(f"'{text}': {match['share']}% is more than all")
    side: Any = match["side"]
    return side, share, Condition.parse(match["when"])


def _checked(text: str) -> str:
    split_limit(text)
    return text


@component
class Quota:
    """Shares of the first places: at most so many of any one value of a column, and at least or at most so many of what
    a condition names, such as new items.

    The list is filled from the top with the best item that breaks no limit; what has to come in is left as low as it
    may. Where that cannot be kept, as too few fit, the best are taken all the same and the slate says what was not
    kept; with limits that cut across each other this way may miss an order that keeps all. `mmr` varies without
    counting, `fair_exposure` weighs places. `genre.conditions` has the grammar of conditions.
    """

    column: str = "categories"
    """Column of the items of which no value may fill the list; of a list of words each counts."""
    at_most: Annotated[float, Field(gt=0, le=1)] = 0.5
    """Share of the places that may have one value of the column; larger allows more, 1 sets no limit and reads none. At
    least one item always may."""
    limits: tuple[Annotated[str, AfterValidator(_checked)], ...] = ()
    """``at least 20% where year >= 1995``, ``at most 30% where language != 'en'``."""
    places: PositiveInt = 10
    """Places that the shares are of; what comes after them keeps its order."""
    top: PositiveInt = 50
    """Places that items may come from; more can keep more limits, with worse items."""

    def order(self, lists: Lists, histories: Histories, resources: Resources) -> Arranged:
        limits = [split_limit(one) for one in self.limits]
        holds = [condition.holds(lists.item, histories.users, resources) for _, _, condition in limits]
        filled = np.minimum(self.places, lists.lengths)
        task = _Filling(
            lists.item >= 0,
            self._codes(lists.item, resources),
            np.maximum(_down(self.at_most * filled), 1),
            np.stack(holds, 2) if holds else np.zeros((*lists.item.shape, 0), dtype=bool),
            self._bounds(limits, filled, "least"),
            self._bounds(limits, filled, "most"),
        )
        order = task.filled(filled)
        return Arranged(order, self._unmet(task))

    def _codes(self, items: Ints, resources: Resources) -> Ints:
        """What each item says in the column, ``[b, n, most]``; -1 where it says less, or nothing is asked."""
        if self.at_most == 1:
            return np.full((*items.shape, 1), -1, dtype=np.int32)
        rows, at = distinct(items)
        said = words(resources.items, self.column, rows, "items")
        codes = said.table(max(1, len(rows)))
        return np.where(codes == len(said.words), -1, codes)[at]

    def _bounds(self, limits: list[Any], filled: Ints, side: str) -> Ints:
        """How many items each limit asks for at ``least``, or allows at ``most``: ``[b, limits]``."""
        none = np.full(len(filled), 0 if side == "least" else self.top)
        bounds = [share * filled if which == side else none for which, share, _ in limits]
        stacked = np.stack(bounds, 1) if bounds else np.zeros((len(filled), 0))
        return _up(stacked) if side == "least" else _down(stacked)

    def _unmet(self, task: _Filling) -> dict[str, Bools]:
        said = {text: task.broken[:, i] for i, text in enumerate(self.limits)}
        said[f"at most {self.at_most:.0%} of one of {self.column}"] = task.crowded
        return {text: mask for text, mask in said.items() if mask.any()}


def _up(share: Any) -> Ints:
    """A share of the places as the least whole number of them."""
    return np.ceil(share - 1e-9).astype(np.int32)


def _down(share: Any) -> Ints:
    """A share of the places as the most whole number of them."""
    return np.floor(share + 1e-9).astype(np.int32)


@dataclass
class _Filling:
    """Lists that are filled place by place."""

    real: Bools
    codes: Ints
    cap: Ints
    holds: Bools
    least: Ints
    most: Ints

    def __post_init__(self) -> None:
        b, width = len(self.real), int(self.codes.max(initial=-1)) + 2
        self.counts = np.zeros((b, width), dtype=np.int32)
        """By person and value how many items have it; the last is of what has none, and does not count."""
        self.held = np.zeros(self.least.shape, dtype=np.int32)

    @property
    def broken(self) -> Bools:
        """Which limits do not hold: ``[b, limits]``."""
        return (self.held < self.least) | (self.held > self.most)

    @property
    def crowded(self) -> Bools:
        """Whose list has more of one value than it may: ``[b]``."""
        return np.asarray((self.counts[:, :-1] > self.cap[:, None]).any(1))

    def filled(self, places: Ints) -> Ints:
        """The order: the first ``places`` of each person chosen one by one, the others behind them as they stood."""
        b, n = self.real.shape
        key = np.where(self.real, np.arange(n, dtype=np.float64), np.inf)
        left, people = self.real.copy(), np.arange(b)
        for place in range(int(places.max(initial=0))):
            chosen = self._choose(left, places - place)
            asked = place < places
            key[people[asked], chosen[asked]] = place - n
            left[people[asked], chosen[asked]] = False
            self._count(people[asked], chosen[asked])
        order = np.argsort(key, axis=1, kind="stable").astype(np.int32)
        return np.where(np.isfinite(np.take_along_axis(key, order, 1)), order, -1)

    def _choose(self, left: Bools, remaining: Ints) -> Ints:
        """The first that breaks nothing, and where as many have to come as there are places, helps with them."""
        people = np.arange(len(left))[:, None, None]
        room = (self.counts[people, self.codes] < self.cap[:, None, None]) | (self.codes < 0)
        full = self.held >= self.most
        allowed = room.all(2) & ~(self.holds & full[:, None, :]).any(2)
        need = np.maximum(self.least - self.held, 0)
        tight = need.sum(1) >= remaining
        helps = (self.holds & (need > 0)[:, None, :]).sum(2) * tight[:, None]
        worth = 1 + allowed * (1 + self.holds.shape[2]) + helps
        return np.where(left, worth, 0).argmax(1).astype(np.int32)

    def _count(self, people: Any, chosen: Ints) -> None:
        codes = self.codes[people, chosen]
        np.add.at(self.counts, (people[:, None], codes), 1)
        self.counts[:, -1] = 0
        self.held[people] += self.holds[people, chosen]
