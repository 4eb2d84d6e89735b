"""What moderators and the catalogue say, as last read: what may not be shown, what stands first, changed columns."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from genre.errors import GenreError
from genre.serve.allowing import Condition, Corrected
from genre.serve.arranging import Pin
from genre.serve.loaded import Loaded
from genre.store import Store
from genre.store.faults import StoreError
from genre.store.records import Decision
from genre.types import Bools

PAGE = 1000


@dataclass(frozen=True)
class Moderated:
    """One reading; immutable."""

    number: int = 0
    """Another one for each reading that differs."""
    refused: frozenset[str] = frozenset()
    """Items that are hidden, blocked or deleted."""
    rules: tuple[tuple[Condition, ...], ...] = ()
    """What is blocked: items that fulfil all conditions of any of them."""
    pins: tuple[Pin, ...] = ()
    told: Mapping[str, Mapping[str, Any]] = field(default_factory=dict, compare=False, repr=False)
    """What the store knows of items, by id and column."""
    change: int = field(default=0, compare=False)
    """Number of the change that ``told`` goes up to."""
    _columns: dict[str, Corrected] = field(default_factory=dict, compare=False, repr=False)
    _masks: dict[str, Bools] = field(default_factory=dict, compare=False, repr=False)

    def passes(self, model: Loaded) -> Bools:
        """The items of a model that may be shown: ``[items]``."""
        found = self._masks.get(model.version)
        if found is None:
            found = np.ones(len(model.item_ids), dtype=bool)
            found[model.rows_of(self.refused)[0]] = False
            for rule in self.rules:
                found &= ~self._within(model, rule)
            self._masks[model.version] = found
        return found

    def columns(self, model: Loaded) -> Corrected:
        """The columns of a model's items, as the store has them by now."""
        found = self._columns.get(model.version)
        if found is None:
            found = self._columns[model.version] = Corrected(model.columns, model.rows, self.told)
        return found

    def _within(self, model: Loaded, rule: Sequence[Condition]) -> Bools:
        """The items that a rule blocks. Of a model without such a column, all: what cannot be judged is not shown."""
        try:
            found = self.columns(model).mask(rule)
        except GenreError:
            found = None
        return np.ones(len(model.item_ids), dtype=bool) if found is None else found


def conditions(rule: Mapping[str, Any]) -> tuple[Condition, ...]:
    """A rule's conditions: the values of each column of which one must be there."""
    return tuple(
        Condition(column, tuple(values) if isinstance(values, list) else (values,)) for column, values in rule.items()
    )


class Moderation:
    """Reads the decisions when they change; while they cannot be read the last reading holds, and that is told."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.now = Moderated()
        self.problem: str | None = "not read yet"
        self._gone: set[str] = set()
        self._told: dict[str, Mapping[str, Any]] = {}
        self._change = 0
        self._at, self._next = 0.0, 0.0
        self._lock = threading.Lock()

    def due(self) -> bool:
        """Whether a decision has run out by now, or is in force again as the clock was set back, or reading failed."""
        return self.problem is not None or not self._at <= time.time() < self._next

    def read(self) -> None:
        """Read the decisions. Raises `StoreError`; the last reading then holds."""
        with self._lock:
            now = time.time()
            try:
                standing = self.store.moderation.standing()
                self._read_items()
            except StoreError as error:
                self.problem = str(error)
                raise
            self._at = now
            self._next = min((one.until for one in standing if one.until is not None), default=float("inf"))
            self.now = self._of(standing)
            self.problem = None

    def _read_items(self) -> None:
        while changed := self.store.items.changes(self._change, PAGE):
            for entry in changed:
                (self._gone.add if entry.deleted else self._gone.discard)(entry.id)
                self._told[entry.id] = entry.columns
                self._change = max(self._change, entry.change or 0)
            if len(changed) < PAGE:
                return

    def _of(self, standing: Sequence[Decision]) -> Moderated:
        pinned = [one for one in standing if one.verdict == "pin"]
        refused = [one for one in standing if one.verdict != "pin"]
        hidden = {one.item_id for one in refused if one.item_id is not None} | self._gone
        rules = tuple(conditions(one.rule) for one in refused if one.rule is not None)
        ids = dict.fromkeys(one.item_id for one in sorted(pinned, key=lambda one: one.number))
        pins = tuple(Pin(item, place) for place, item in enumerate((i for i in ids if i and i not in hidden), 1))
        told = self.now.told if self._change == self.now.change else dict(self._told)
        made = Moderated(self.now.number + 1, frozenset(hidden), rules, pins, told, self._change)
        # What has not changed keeps its number, and with it the slates that were made under it.
        if replace(made, number=self.now.number) != self.now or (rules and self._change != self.now.change):
            return made
        return self.now if self._change == self.now.change else replace(made, number=self.now.number)
