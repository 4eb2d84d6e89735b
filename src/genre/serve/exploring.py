"""A policy in the path: for some users it chooses among what the model ranked, every place with its probability."""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from genre.component import describe, name_of
from genre.data import Histories
from genre.errors import GenreError
from genre.files import digest
from genre.learn.deciding import choose
from genre.learn.ledger import Ledger
from genre.learnsection import RewardSection
from genre.policies import Arms, Doubles, Feedback, Policy
from genre.serve.arranging import Shown
from genre.serve.experiments import ArmResult, Difference, results, share_of
from genre.serve.loaded import Loaded
from genre.servesection import ExploreSection
from genre.store import Store
from genre.store.records import Event, Experiment
from genre.types import State

LOG = logging.getLogger("genre.serve")
WAITING = 20_000
"""Slates that wait for their reward at most; the oldest beyond them teach nothing, and are counted."""
LATE = 14 * 86400.0
"""Seconds of slates that are compared: older ones say little of today's policy, and to read all takes ever longer."""
MODELS = 4
"""Models of which what was learned is kept, the latest ones."""
SOME = 1000
"""People by whom the length of their vectors is measured."""
POLICY, OTHERS = "policy", "greedy"
"""Names of the two arms: those for whom the policy chooses, and those who get the best by score."""


@dataclass
class Shows:
    """A slate that waits for its reward."""

    at: float
    rows: dict[str, int]
    """Row of each item in the table of the model that ranked it."""
    actions: dict[int, set[str]] = field(default_factory=dict)
    """What was done with each item, by its row; twice is once."""


@dataclass
class Taught:
    """What the policy has learned of one model's items."""

    state: State
    size: float = 1.0
    """What vectors of people are divided by, so that contexts are of the size of one."""
    ledger: Ledger = field(default_factory=Ledger)
    waiting: OrderedDict[str, Shows] = field(default_factory=OrderedDict)
    """The slates that wait for their reward, by their ids."""
    slates: int = 0
    """Slates that it has learned from."""


@dataclass(frozen=True)
class Compared:
    """Those for whom the policy chooses beside the others."""

    arms: list[ArmResult]
    difference: Difference | None


class Explorer:
    """One policy of one service, with what it has learned; choosing and learning may happen in different threads."""

    def __init__(self, section: ExploreSection, policy: Policy, reward: RewardSection) -> None:
        self.section, self.policy = section, policy
        self.worth = {action: value for action, value in reward.events.items() if value}
        self.on, self.why, self.since = True, "", 0.0
        self.forgotten = 0
        """Slates that it could not learn from."""
        self.name = f"explore:{digest([describe(policy), section.key])[:8]}"
        """Under which its slates are kept, beside those that it is compared with."""
        self._taught: dict[str, Taught] = {}
        self._lock = threading.Lock()

    def settled(self, value: dict[str, Any] | None) -> None:
        """What the store says: whether it may choose."""
        value = value or {}
        self.on, self.why = bool(value.get("on", True)), str(value.get("why", ""))
        self.since = float(value.get("since", 0.0))

    def arm(self, user_id: str) -> str | None:
        """The user's side of the comparison; None where the policy chooses for nobody."""
        if not self.on or not self.section.share:
            return None
        return POLICY if share_of(self.section.key, user_id) < self.section.share else OTHERS

    def needs_contexts(self) -> bool:
        """Whether it chooses by more than scores and items."""
        return self.policy.reads == "contexts"

    def contexts(self, model: Loaded, history: Histories, items: Sequence[str]) -> Doubles:
        """What is known of a person together with each item; for the inference thread. Raises `GenreError`."""
        reader, taught = _reader(model), self._of(model)
        person = np.asarray(reader.asking(history), dtype=np.float64)[0] / taught.size
        return person * np.asarray(reader.item_vectors()[model.rows_of(items)[0]], dtype=np.float64)

    def choose(
        self, model: Loaded, ranked: Sequence[Shown], contexts: Doubles | None, k: int, slate_id: str
    ) -> list[Shown]:
        """``k`` of what was ranked, each with its exact probability at its place given those above it.

        The draw is made from the id of the slate, so that it can be made again.
        """
        taught = self._of(model)
        rows = np.array(model.rows_of(one["item_id"] for one in ranked)[0], dtype=np.int32)
        scores = np.array([one["score"] or 0.0 for one in ranked], dtype=np.float64)
        arms = Arms(rows, scores, np.zeros((len(rows), 0)) if contexts is None else contexts)
        chosen = choose(self.policy, taught.state, arms, k, np.random.default_rng(int(slate_id, 16)))
        places, chances = chosen.places.tolist(), chosen.propensities.tolist()
        if self.section.learn:
            shown = {ranked[place]["item_id"]: int(rows[place]) for place in places}
            with self._lock:
                taught.ledger.show(slate_id, arms, chosen)
                taught.waiting[slate_id] = Shows(time.monotonic(), shown)
        return [{**ranked[place], "propensity": chance} for place, chance in zip(places, chances, strict=True)]

    def _of(self, model: Loaded) -> Taught:
        """What was learned of the model's items. Raises `GenreError` where they have no vectors, and it needs them."""
        found = self._taught.get(model.version)
        if found is None:
            found = self._started(model)
            with self._lock:
                found = self._taught.setdefault(model.version, found)
                for gone in list(self._taught)[:-MODELS]:
                    del self._taught[gone]
        return found

    def insist(self, model: Loaded) -> None:
        """Raise `GenreError` where it cannot choose among a model's items."""
        if name_of(self.policy) == "learned":
            # What its weights multiply is scaled by numbers of the log that its folder does not hold.
            raise GenreError("the policy 'learned' is judged from logs only; serve softmax or a Thompson policy")
        if not self.worth:
            raise GenreError(
                "learn.reward.events: no event is worth anything, so that no policy can be judged; name one"
            )
        state, dim = self._of(model).state, self._dim(model)
        if self.section.learn:
            # Raises where an item may earn what the policy cannot learn from.
            ends = np.array([sum(one for one in self.worth.values() if one * sign > 0) for sign in (-1, 1)])
            rows = np.arange(2, dtype=np.int32)
            self.policy.update(
                state, Feedback(rows, ends, np.zeros((2, dim)), np.zeros(2), rows, np.zeros(2, np.int64))
            )

    def _dim(self, model: Loaded) -> int:
        return _reader(model).item_vectors().shape[1] if self.needs_contexts() else 0

    def _started(self, model: Loaded) -> Taught:
        if not self.needs_contexts():
            return Taught(self.policy.start(len(model.item_ids), 0))
        reader, histories = _reader(model), model.histories
        vectors = np.asarray(reader.item_vectors(), dtype=np.float64)
        some = histories.take(np.arange(min(SOME, len(histories))))
        people = np.asarray(reader.asking(some), dtype=np.float64)
        size = float(np.sqrt(np.square(vectors).mean() * np.square(people).mean())) or 1.0
        return Taught(self.policy.start(len(vectors), self._dim(model)), size)

    # Learning.

    def hear(self, events: Iterable[Event]) -> None:
        """Note what items of slates that wait have earned."""
        named = [event for event in events if event.slate_id] if self.section.learn else []
        with self._lock:
            for event in named:
                for taught in self._taught.values():
                    slate = taught.waiting.get(event.slate_id or "")
                    if slate is not None and (row := slate.rows.get(event.item_id)) is not None:
                        slate.actions.setdefault(row, set()).add(event.action)

    def learn(self) -> int:
        """Learn from the slates whose time is over; says from how many."""
        return sum(self._learn(taught) for taught in list(self._taught.values()))

    def _learn(self, taught: Taught) -> int:
        over = time.monotonic() - self.section.window_seconds
        found: list[Feedback] = []
        with self._lock:
            while taught.waiting:
                slate_id, slate = next(iter(taught.waiting.items()))
                if slate.at > over and len(taught.waiting) <= WAITING:
                    break
                del taught.waiting[slate_id]
                feedback = taught.ledger.take(slate_id, {row: self._earned(of) for row, of in slate.actions.items()})
                if slate.at > over:
                    self.forgotten += 1
                elif feedback is not None and len(feedback):
                    found.append(replace(feedback, slate=np.full(len(feedback), len(found), dtype=np.int64)))
            # Events find a slate by `waiting`; to remember all that ever were would take more and more memory.
            taught.ledger.done.clear()
        if not found:
            return 0
        try:
            taught.state = self.policy.update(taught.state, _joined(found))
        except GenreError as error:
            LOG.warning("the policy cannot learn from %d slates: %s", len(found), error)
            self.forgotten += len(found)
            return 0
        taught.slates += len(found)
        return len(found)

    def _earned(self, actions: Iterable[str]) -> float:
        return sum(self.worth.get(action, 0.0) for action in sorted(actions))

    @property
    def learned(self) -> int:
        """Slates that it has learned from."""
        return sum(one.slates for one in self._taught.values())

    # Whether it is worth it.

    def compared(self, store: Store) -> Compared:
        """What its users' slates earned beside those of the others of late, since it was started at most."""
        arms = [{"name": OTHERS, "share": 1 - self.section.share}, {"name": POLICY, "share": self.section.share}]
        since = max(self.since, time.time() - LATE)
        between = Experiment(self.name, "running", {"arms": arms}, "", 0.0)
        told, differences = results(between, store.slates.earned(self.name, self.worth, since))
        return Compared(told, differences[0] if differences else None)

    def is_worse(self, found: Compared) -> str | None:
        """Why it should stop, where enough users on both sides show that it is worse."""
        difference = found.difference
        if difference is None or difference.verdict != "worse" or difference.ci95 is None:
            return None
        if min(one.units for one in found.arms) < self.section.least:
            return None
        (low, high), lost = difference.ci95, -(difference.difference or 0.0)
        return f"its slates earned {lost:.4f} less than those of the others (95 % interval {-high:.4f} to {-low:.4f})"


def _reader(model: Loaded) -> Any:
    reader: Any = model.path.resources.model
    if getattr(reader, "asking", None) is None or reader.ranking_head is None:
        raise GenreError(f"model '{model.name}' has no vectors, which this policy chooses by; take softmax")
    return reader


def _joined(some: list[Feedback]) -> Feedback:
    names = ("item", "reward", "contexts", "scores", "position", "slate", "weight")
    return Feedback(**{name: np.concatenate([getattr(one, name) for one in some]) for name in names})
