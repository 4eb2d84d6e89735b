"""Rules of the house."""

from __future__ import annotations

import re
from typing import Annotated, ClassVar

import numpy as np
from pydantic import AfterValidator

from genre.component import component
from genre.conditions import Condition
from genre.data import Histories
from genre.rerankers import Arranged, Lists
from genre.sources import Resources
from genre.types import Bools, Floats, Ints

PATTERN = re.compile(r"\s*(?P<do>hide|boost|demote|pin)(?:\s+(?P<by>\d+))?\s+where\s+(?P<when>.+)", re.DOTALL)


def split_rule(text: str) -> tuple[str, int, Condition]:
    """What a rule does, by how many places or at which one, and where. Raises `ValueError` that says what is wrong."""
    match = PATTERN.fullmatch(text)
    if not match:
        raise ValueError(f"'{text}' is no rule; write hide, boost N, demote N or pin N, then where and a condition")
    do, by = match["do"], match["by"]
    if (do == "hide") != (by is None):
        mend = "hide takes no number" if do == "hide" else f"say by how many places, as in {do} 5 where ..."
        raise ValueError(f"'{text}': {mend if do != 'pin' else 'say at which place, as in pin 1 where ...'}")
    if by is not None and int(by) < 1:
        raise ValueError(f"'{text}': {by} places are none; the least is 1")
    return do, int(by or 0), Condition.parse(match["when"])


def _checked(text: str) -> str:
    split_rule(text)
    return text


@component
class Rules:
    """Hides, lifts, lowers or pins what a condition on the item's and the person's columns names.

    ``hide where genre == 'Horror' and user.age < 18`` takes out; ``boost 5 where year >= 2020`` lifts by five places,
    ``demote 5 where ...`` lowers; several that hold of an item add up. ``pin 1 where item_id == '42'`` puts the best
    one that fulfils it at that place. Only candidates are arranged: a rule brings in nothing that no source proposes.
    The filter `attribute` takes items out before the sources' best are counted, so that others come in their place.
    Where a value is missing no comparison holds, so write ``not user.age >= 18`` to hide from people of unknown age
    too. `genre.conditions` has the grammar.
    """

    rules: tuple[Annotated[str, AfterValidator(_checked)], ...] = ()
    """Hiding is done first, then lifting and lowering, then pinning in this order; a later pin of a place stands above
    an earlier one."""
    top: ClassVar[int | None] = None

    def order(self, lists: Lists, histories: Histories, resources: Resources) -> Arranged:
        hidden = lists.item < 0
        key = np.broadcast_to(np.arange(lists.item.shape[1], dtype=np.float32), lists.item.shape).copy()
        pins: list[tuple[int, Bools]] = []
        for do, by, condition in map(split_rule, self.rules):
            holds = condition.holds(lists.item, histories.users, resources)
            if do == "hide":
                hidden = hidden | holds
            elif do == "pin":
                pins.append((by, holds))
            else:
                # Half a place more, so that it passes the one that stands where it goes.
                key += np.where(holds, -by - 0.5 if do == "boost" else by + 0.5, 0).astype(np.float32)
        order = _sorted(key, hidden)
        for place, holds in pins:
            order = _pinned(order, holds, place)
        return Arranged(order)


def _sorted(key: Floats, hidden: Bools) -> Ints:
    """Places in order of ``key``, -1 for hidden ones, which come last."""
    order = np.argsort(np.where(hidden, np.inf, key), axis=1, kind="stable").astype(np.int32)
    return np.where(np.take_along_axis(hidden, order, 1), -1, order)


def _pinned(order: Ints, holds: Bools, place: int) -> Ints:
    """The first of each list that ``holds`` put at a place, or last where the list is shorter; the others close up."""
    if not order.shape[1]:
        return order
    fits = np.take_along_axis(holds, np.maximum(order, 0), 1) & (order >= 0)
    first, any_of = fits.argmax(1), fits.any(1)
    now = np.broadcast_to(np.arange(order.shape[1], dtype=np.float32), order.shape).copy()
    last = np.maximum((order >= 0).sum(1), 1)
    target = np.minimum(place, last) - 1
    step = np.where(target < first, target - 0.5, target + 0.5)
    now[any_of, first[any_of]] = step[any_of]
    return np.take_along_axis(order, np.argsort(np.where(order < 0, np.inf, now), axis=1, kind="stable"), 1)
