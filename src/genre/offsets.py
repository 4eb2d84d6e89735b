"""What counting alone says of a label, which a head may start from: the text then has only the rest to explain.

The offset of generalised linear models, the base margin of boosting: McCullagh and Nelder (1989),
https://doi.org/10.1007/978-1-4899-3242-6, section 6.2.2. Effects of items and people are means that shrink towards the
overall one: Koren (2008), https://doi.org/10.1145/1401890.1401944, section 2.1.

Nobody's training row is told what was counted from their own rows: the items' effects that it gets are of the other
people, a fifth of whom is left out at a time, and its person's own is of the history before it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from genre.data import PARTS, SKIP, Histories, Log
from genre.errors import GenreError
from genre.formulations import Asked
from genre.heads import Head, Link
from genre.labels import Label
from genre.types import Floats, Ints

FOLDS = 5
"""A training row is told what was counted without this share of the people, itself among them."""
SHRINKAGE = (1.0, 3.0, 10.0, 30.0, 100.0)
"""Strengths to try: so many imagined rows of no effect are added to those of each person and item."""
ROUNDS = 5
"""Turns in which effects of items and people are fitted to what the other leaves."""
EDGE = 0.01
"""A share is kept this far from 0 and 1, and a count this share of the mean above 0, so that no offset is extreme."""


STANDARD = 3.0
"""So many imagined events of equal text, of which nothing is left, are added to those of each history."""
LATEST, WEIGHED = 300, 4000
"""Events of a history, and training rows, by which the likeness of texts is weighed."""
PAIRS = 1 << 16
"""Texts that are compared at once."""


@dataclass(frozen=True)
class Effects:
    """What was counted from some rows."""

    mean: float
    item: NDArray[np.float64]
    """``[items]``: what each adds to the mean; 0 for one that nobody has a label of."""


@dataclass(frozen=True)
class Offset:
    """What counting says of one head's label."""

    of: tuple[str, ...]
    """``item``, ``user``, ``text``: what is counted."""
    link: Link
    label: Label
    actions: tuple[str, ...]
    shrinkage: float
    """The strength that was best for the people left out."""
    effects: tuple[Effects, ...]
    """Of the rows without each fold of people, and of all rows last."""
    likeness: Likeness | None = None
    """There if ``text`` is counted."""

    @classmethod
    def fit(cls, name: str, head: Head, log: Log, vectors: Callable[[], Floats] | None = None) -> Offset:
        """Count in the training rows of a log. Raises `GenreError` where histories do not tell what is counted.

        ``vectors`` makes one of each item's text, those added behind the log's included.
        """
        label, of = Label.parse(head.label), tuple(getattr(head, "offset", ()))
        rows = _Rows.of(label, log)
        if "user" in of and rows.passed_over.any():
            raise GenreError(
                f"model.heads.{name}.offset: what was passed over has this label and no place in a history, so the "
                "share in the history is not that of the rows; set it to [item]"
            )
        tried = [_Tried.of(rows, of, strength) for strength in SHRINKAGE]
        best = min(tried, key=lambda one: one.loss)
        made = cls(of, getattr(head, "link", "identity"), label, log.actions, best.shrinkage, best.effects)
        if "text" not in of:
            return made
        assert vectors is not None
        return made._with_likeness(Likeness.of(vectors(), np.unique(rows.item)), log)

    def says(self, asked: Asked, part: NDArray[np.int8]) -> Floats:
        """The offset of each question, on the scale of the head's module; ``part`` is that of every row of the log."""
        training = asked.row >= 0
        training[training] = part[asked.row[training]] == PARTS.index("train")
        fold = np.where(training, asked.user % FOLDS, FOLDS)
        return self._of(asked.histories, asked.person, asked.item, fold)

    def of_pairs(self, histories: Histories, person: NDArray[Any], item: Ints) -> Floats:
        """The offset of people and an item each, with all that was counted; ``person`` numbers the histories."""
        return self._of(histories, person, item, np.full(len(item), FOLDS))

    def _of(self, histories: Histories, person: NDArray[Any], item: Ints, fold: NDArray[np.int64]) -> Floats:
        amount, alike = self._parts(histories, person, item, fold)
        return self.linked(amount if self.likeness is None else amount + self.likeness.weight * alike)

    def _parts(
        self, histories: Histories, person: NDArray[Any], item: Ints, fold: NDArray[np.int64]
    ) -> tuple[Any, Any]:
        """Of people and an item each the amount by effects, and what the likeness of texts would add to it."""
        amount, alike = self._means[fold] + self._items[fold, item], np.zeros(len(item))
        if "user" in self.of:
            of_person = np.full(len(histories), FOLDS)
            of_person[person] = fold
            left = self._left(histories, of_person)
            known, owner = ~np.isnan(left), histories.owner
            of_person = _shrunk(left[known], owner[known], len(histories), self.shrinkage)
            amount = amount + of_person[person]
            if self.likeness is not None:
                alike = self.likeness.foretells(histories, left - of_person[owner], person, item)
        return amount, alike

    def _left(self, histories: Histories, fold: NDArray[np.int64]) -> NDArray[np.float64]:
        """What mean and item leave of the label of every event; NaN where that is not known."""
        at = fold[histories.owner]
        return self.label.of_events(histories, self.actions) - self._means[at] - self._items[at, histories.item]

    def _with_likeness(self, likeness: Likeness, log: Log) -> Offset:
        """The same with likeness of texts, weighed as suits what effects leave of a sample of the training rows."""
        train = log.parts("train")
        label = self.label.evaluate(train).astype(np.float64)
        rows = np.flatnonzero(~np.isnan(label))
        rows = np.sort(np.random.default_rng(0).permutation(rows)[:WEIGHED])
        histories = Histories.at(train, rows).latest(LATEST)
        counted = replace(self, likeness=likeness)
        fold = (train.user[rows] % FOLDS).astype(np.int64)
        amount, alike = counted._parts(histories, np.arange(len(rows)), train.item[rows], fold)
        weight = max(0.0, float(alike @ (label[rows] - amount)) / max(float(alike @ alike), 1e-9))
        return replace(self, likeness=replace(likeness, weight=weight))

    def linked(self, amount: Any) -> Floats:
        """An amount on the scale of the head's module."""
        amount = np.asarray(amount, dtype=np.float64)
        if self.link == "logit":
            share = np.clip(amount, EDGE, 1 - EDGE)
            amount = np.log(share / (1 - share))
        elif self.link == "log":
            amount = np.log(np.maximum(amount, EDGE * max(self.effects[-1].mean, EDGE)))
        return amount.astype(np.float32)

    @property
    def overall(self) -> float:
        """The offset of what nothing is known of."""
        return float(self.linked(self.effects[-1].mean))

    def grown(self, n_items: int) -> Offset:
        """The same for a catalogue with further items behind, of which nothing was counted."""
        more = n_items - len(self.effects[-1].item)
        grown = [Effects(one.mean, np.pad(one.item, (0, more))) for one in self.effects]
        return replace(self, effects=tuple(grown))

    @cached_property
    def _means(self) -> NDArray[np.float64]:
        return np.array([one.mean for one in self.effects])

    @cached_property
    def _items(self) -> NDArray[np.float64]:
        return np.stack([one.item for one in self.effects])


def offsets_of(
    heads: dict[str, Head], log: Log, n_items: int, vectors: Callable[[], Floats] | None = None
) -> dict[str, Offset]:
    """What is counted for each head that starts from counting, by its name; ``vectors`` as in `Offset.fit`."""
    asked = {name: head for name, head in heads.items() if getattr(head, "offset", ())}
    return {name: Offset.fit(name, head, log, vectors).grown(n_items) for name, head in asked.items()}


@dataclass(frozen=True)
class Likeness:
    """How alike the texts of items are, to the language model as it came."""

    vectors: Floats
    """``[items, hidden]``, of unit length, about the mean of the items that training knows; zeros without text."""
    weight: float = 1.0
    """How much what was left of alike items counts."""

    @classmethod
    def of(cls, vectors: Floats, known: Ints) -> Likeness:
        """From the texts' vectors as they are, with zeros where an item has none."""
        told = np.asarray(vectors.any(1))
        centred = vectors - vectors[known][told[known]].mean(0) if told[known].any() else vectors
        lengths = np.linalg.norm(centred, axis=1, keepdims=True)
        return cls(np.where(told[:, None], centred / np.maximum(lengths, 1e-9), 0.0).astype(np.float32))

    def foretells(
        self, histories: Histories, left: NDArray[np.float64], person: NDArray[Any], item: Ints
    ) -> NDArray[np.float64]:
        """The mean of what was ``left`` of the events, each counting as its text is alike to that of the item asked.

        The item itself, where it was chosen before, is not among them.
        """
        lengths = histories.lengths[person]
        ends = np.cumsum(lengths)
        found = np.zeros(len(item))
        start = 0
        while start < len(item):
            stop = max(start + 1, int(np.searchsorted(ends, ends[start] - lengths[start] + PAIRS, side="right")))
            some = np.arange(start, stop)
            asked = np.repeat(some, lengths[some])
            first = np.repeat(histories.offsets[person[some]], lengths[some])
            place = np.arange(len(asked)) - np.repeat(np.cumsum(lengths[some]) - lengths[some], lengths[some])
            event = first + place
            cosine = np.einsum("ij,ij->i", self.vectors[item[asked]], self.vectors[histories.item[event]])
            alike = np.square(np.maximum(cosine, 0.0)).astype(np.float64)
            alike[np.isnan(left[event]) | (histories.item[event] == item[asked])] = 0.0
            sums = np.bincount(asked - start, alike * np.nan_to_num(left[event]), minlength=len(some))
            found[some] = sums / (np.bincount(asked - start, alike, minlength=len(some)) + STANDARD)
            start = stop
        return found


@dataclass(frozen=True)
class _Rows:
    """The training rows with a label, in the order of the log."""

    user: Ints
    item: Ints
    label: NDArray[np.float64]
    passed_over: NDArray[np.bool_]
    n_users: int
    n_items: int

    @classmethod
    def of(cls, label: Label, log: Log) -> _Rows:
        values = label.evaluate(log).astype(np.float64)
        rows = (log.part == PARTS.index("train")) & ~np.isnan(values)
        skipped = np.zeros(len(log), dtype=bool) if SKIP not in log.actions else ~log.positive
        return cls(log.user[rows], log.item[rows], values[rows], skipped[rows], log.n_users, log.n_items)

    def where(self, mask: NDArray[np.bool_]) -> _Rows:
        passed_over = self.passed_over[mask]
        return _Rows(self.user[mask], self.item[mask], self.label[mask], passed_over, self.n_users, self.n_items)

    def effects(self, of: tuple[str, ...], strength: float) -> Effects:
        """Items' effects on the label, beside those of people where these count too."""
        mean = float(self.label.mean()) if len(self.label) else 0.0
        left, item = self.label - mean, np.zeros(self.n_items)
        if "item" not in of:
            return Effects(mean, item)
        person = np.zeros(self.n_users)
        for _ in range(ROUNDS if "user" in of else 1):
            item = _shrunk(left - person[self.user], self.item, self.n_items, strength)
            if "user" in of:
                person = _shrunk(left - item[self.item], self.user, self.n_users, strength)
        return Effects(mean, item)

    def before(self, left: NDArray[np.float64], strength: float) -> NDArray[np.float64]:
        """The effect of each row's person as the earlier of these rows tell it."""
        first = np.searchsorted(self.user, self.user, side="left")
        total = np.concatenate([[0.0], np.cumsum(left)])
        place = np.arange(len(left))
        return (total[place] - total[first]) / (place - first + strength)


@dataclass(frozen=True)
class _Tried:
    """What one strength of shrinkage makes of the people left out."""

    shrinkage: float
    effects: tuple[Effects, ...]
    loss: float
    """Mean squared error."""

    @classmethod
    def of(cls, rows: _Rows, of: tuple[str, ...], strength: float) -> _Tried:
        effects, lost = [], 0.0
        for fold in range(FOLDS):
            out = rows.user % FOLDS == fold
            effects.append(rows.where(~out).effects(of, strength))
            judged = rows.where(out)
            left = judged.label - effects[-1].mean - effects[-1].item[judged.item]
            if "user" in of:
                left = left - judged.before(left, strength)
            lost += float(np.square(left).sum())
        effects.append(rows.effects(of, strength))
        return cls(strength, tuple(effects), lost)


def _shrunk(left: NDArray[np.float64], group: Any, n: int, strength: float) -> NDArray[np.float64]:
    """Mean of each group, with ``strength`` imagined rows of zero."""
    return np.bincount(group, left, minlength=n) / (np.bincount(group, minlength=n) + strength)
