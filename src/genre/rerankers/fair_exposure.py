"""A fair share of being seen."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from pydantic import Field, PositiveInt

from genre.component import component
from genre.data import Histories
from genre.errors import DataError
from genre.itemcolumns import distinct, words
from genre.rerankers import Arranged, Lists
from genre.sources import Resources
from genre.types import Bools, Floats, Ints


@component
class FairExposure:
    """Every group of items (by provider, region, ...) gets at least a part of the exposure that its share of the list
    calls for, where a place is worth 1 / log2(1 + place).

    Filled from the top: wherever a group is owed as much as the next place is worth, its best item stands there, of
    several groups that of the one owed most; else the best of all. `quota` counts items, this weighs places, so that a
    group does not stand at the bottom alone. Exposure after Singh and Joachims (2018),
    https://doi.org/10.1145/3219819.3220088; the greedy way after Geyik, Ambler and Kenthapadi (2019),
    https://doi.org/10.1145/3292500.3330691, and FA*IR, Zehlike et al. (2017), https://doi.org/10.1145/3132847.3132938.
    """

    column: str = "provider"
    """Column of the items that says which group each is of, one word or number an item; those without are a group."""
    groups: tuple[str, ...] = ()
    """Groups that are looked after; all if none is named."""
    floor: Annotated[float, Field(ge=0, le=1)] = 0.8
    """Part of its proportional exposure that each group gets at least; larger is fairer and moves more; 0 is none."""
    places: PositiveInt = 10
    """Places in which it has to hold; what comes after them keeps its order."""
    top: PositiveInt = 50
    """Places that are arranged, of whose items a group's share is counted."""

    def order(self, lists: Lists, histories: Histories, resources: Resources) -> Arranged:
        rows, at = distinct(lists.item)
        said = words(resources.items, self.column, rows, "items")
        if said.several:
            raise DataError(
                f"reranker 'fair_exposure': column '{self.column}' holds several words an item; name one of one"
            )
        codes = said.table(max(1, len(rows)))[:, 0]
        named = [said.words.index(word) for word in self.groups if word in said.words]
        cared = np.isin(codes, named) if self.groups else np.ones(len(codes), dtype=bool)
        real = lists.item >= 0
        order, owed = _filled(codes[at], cared[at] & real, real, self.floor, np.minimum(self.places, lists.lengths))
        what = f"{self.floor:.0%} of its share of the exposure for each of {self.column}"
        return Arranged(order, {what: owed} if owed.any() else {})


def _filled(codes: Ints, cared: Bools, real: Bools, floor: float, places: Ints) -> tuple[Ints, Bools]:
    """The order, and whose groups are owed more than the last place was worth when all are filled."""
    b, n = real.shape
    people = np.arange(b)
    share = _share(codes, real)
    got, total = np.zeros((b, n), dtype=np.float32), np.zeros(b, dtype=np.float32)
    key, left, owed = np.where(real, np.arange(n, dtype=np.float32), np.inf), real.copy(), np.zeros(b, dtype=bool)
    for place in range(int(places.max(initial=0))):
        worth = np.float32(1 / np.log2(2 + place))
        asked = place < places
        total += worth * asked
        lack = np.where(cared, floor * share * total[:, None] - got, -np.inf)
        waiting = np.where(left & (lack >= worth), lack, -np.inf)
        due = np.isfinite(waiting).any(1)
        chosen = np.where(due, waiting.argmax(1), left.argmax(1))
        key[people[asked], chosen[asked]] = place - n
        left[people[asked], chosen[asked]] = False
        same = codes == codes[people, chosen][:, None]
        got += np.where(same & asked[:, None], worth, 0)
        still = np.where(cared, floor * share * total[:, None] - got, -np.inf).max(1, initial=-np.inf) > worth + 1e-6
        owed = np.where(asked, still, owed)
    order = np.argsort(key, axis=1, kind="stable").astype(np.int32)
    return np.where(np.isfinite(np.take_along_axis(key, order, 1)), order, -1), owed


def _share(codes: Ints, real: Bools) -> Floats:
    """Of each item the share of its group in the list: ``[b, n]``."""
    width = int(codes.max(initial=0)) + 1
    counts = np.zeros((len(codes), width), dtype=np.float32)
    people = np.broadcast_to(np.arange(len(codes))[:, None], codes.shape)
    np.add.at(counts, (people[real], codes[real]), 1)
    return counts[people, codes] / np.maximum(real.sum(1, keepdims=True), 1)
