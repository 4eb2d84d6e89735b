"""A policy in the path: for some users it chooses among what the model ranked, every place with its probability."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from genre.component import describe, name_of
from genre.data import Histories
from genre.errors import GenreError
from genre.files import digest
from genre.learn.deciding import choose
from genre.learnsection import RewardSection
from genre.policies import Feedback, Policy
from genre.serve.arranging import Shown
from genre.serve.beliefs import FILE, GOOD, UNTOLD, About, Beliefs, label_of
from genre.serve.caches import Cache
from genre.serve.experiments import ArmResult, Difference, results, share_of
from genre.serve.fittedpolicy import Fitted
from genre.serve.loaded import Loaded
from genre.servesection import ExploreSection
from genre.store import Store
from genre.store.records import Experiment

LOG = logging.getLogger("genre.serve")
LATE = 14 * 86400.0
"""Seconds of slates that are compared: older ones say little of today's policy, and to read all takes ever longer."""
MODELS = 4
"""Models of which what was learned is in memory, those asked for last."""
PAGES = 4
"""Pages of slates that are learned from at a time while others wait, such as for the store to be looked at."""
GRACE = 2.0
"""Seconds after a slate's time within which it and its events are in the store, whichever process wrote them."""
KEEP = 60.0
"""Seconds between two writings of what was learned."""
POLICY, OTHERS = "policy", "greedy"
"""Names of the two arms: those for whom the policy chooses, and those who get the best by score."""
LEARNED = "learned"
"""The policy that is read from the run, instead of learning here."""


@dataclass(frozen=True)
class Compared:
    """Those for whom the policy chooses beside the others."""

    arms: list[ArmResult]
    difference: Difference | None


class Explorer:
    """One policy of one service, with what it believes; choosing and learning may happen in different threads."""

    def __init__(self, section: ExploreSection, policy: Policy, reward: RewardSection, store: Store) -> None:
        self.section, self.policy, self.store = section, policy, store
        self.worth = {action: value for action, value in reward.events.items() if value}
        self.on, self.why, self.since = True, "", 0.0
        self.held: dict[str, float] | None = None
        """By model, the time of the last slate that may have taught; None while it learns on."""
        self.good: dict[str, Any] = {}
        """When it was last surely better, and what it had learned from by then."""
        self.name = f"explore:{digest([describe(policy), section.key])[:8]}"
        """Under which its slates are kept, beside those that it is compared with."""
        self._taught: Cache[str, Beliefs | Fitted] = Cache(MODELS)
        self._learning = threading.Lock()
        self._kept = time.monotonic()
        self.waiting: Callable[[], float | None] = lambda: None
        """When the first slate was made that is not written yet."""

    def settled(self, settled: Mapping[str, dict[str, Any]]) -> None:
        """What the store says: whether it may choose, whether it was taken back, when it was good."""
        value, good = settled.get("policy") or {}, settled.get("policy:good") or {}
        self.on, self.why = bool(value.get("on", True)), str(value.get("why", ""))
        self.since, self.held = float(value.get("since", 0.0)), value.get("held")
        self.good = good if good.get("name") == self.name else {}

    def arm(self, user_id: str) -> str | None:
        """The user's side of the comparison; None where the policy chooses for nobody."""
        if not self.on or not self.section.share:
            return None
        return POLICY if share_of(self.section.key, user_id) < self.section.share else OTHERS

    def needs_contexts(self) -> bool:
        """Whether it chooses by more than scores and items."""
        return self.policy.reads == "contexts"

    def about(self, model: Loaded, history: Histories, items: Sequence[str]) -> About:
        """What is known of a person and each item; for the inference thread. Raises `GenreError`."""
        return self._of(model).about(history, items)

    def choose(self, model: Loaded, ranked: Sequence[Shown], about: About | None, k: int, slate_id: str) -> list[Shown]:
        """``k`` of what was ranked, each with its exact probability at its place given those above it.

        The draw is made from the id of the slate, so that it can be made again.
        """
        taught = self._of(model)
        rows = np.array(model.rows_of(one["item_id"] for one in ranked)[0], dtype=np.int32)
        scores = np.array([one["score"] or 0.0 for one in ranked], dtype=np.float64)
        arms, among = taught.arms(rows, scores, about or UNTOLD)
        rng = np.random.default_rng(int(slate_id, 16))
        chosen = choose(taught.policy, taught.state, arms, k, rng, among)
        which = np.full(len(arms), -1)
        which[taught.placed(rows)] = np.arange(len(rows))
        places, chances = which[chosen.places].tolist(), chosen.propensities.tolist()
        return [{**ranked[place], "propensity": chance} for place, chance in zip(places, chances, strict=True)]

    def _of(self, model: Loaded) -> Beliefs | Fitted:
        """What was learned of the model's items. Raises `GenreError` where it cannot choose among them."""
        found = self._taught.get(model.version)
        if found is None:
            found = self._taught.put_new(model.version, self._started(model))
        return found

    def _started(self, model: Loaded) -> Beliefs | Fitted:
        if name_of(self.policy) == LEARNED:
            return Fitted.load(self.policy, model)
        made = Beliefs(self.policy, model, self.store, self.worth, self.section.window_seconds)
        why = made.recall(time.time())
        if why is not None:
            then = "it learns anew from the slates of the store" if self.section.learn else "it begins anew"
            LOG.warning("%s: what the policy had learned is not used, as %s; %s", model.folder / FILE, why, then)
        return made

    def insist(self, model: Loaded) -> None:
        """Raise `GenreError` where it cannot choose among a model's items."""
        if not self.worth:
            raise GenreError(
                "learn.reward.events: no event is worth anything, so that no policy can be judged; name one"
            )
        if LEARNED in _within(describe(self.policy)):
            raise GenreError(
                "the policy 'learned' is judged by itself, in no other; write serve.explore.policy: learned"
            )
        taught = self._of(model)
        if self.section.learn and isinstance(taught, Beliefs):
            # Raises where an item may earn what the policy cannot learn from.
            ends = np.array([sum(one for one in self.worth.values() if one * sign > 0) for sign in (-1, 1)])
            rows, dim = np.arange(2, dtype=np.int32), taught.vectors.shape[1]
            self.policy.update(
                taught.state, Feedback(rows, ends, np.zeros((2, dim)), np.zeros(2), rows, np.zeros(2, np.int64))
            )

    # Learning.

    def learn(self, now: float | None = None, to_keep: bool = False, pages: float = math.inf) -> int:
        """Learn from the slates whose time is over, once all of them are in the store; says from how many.

        What was learned is written now and then, or at once ``to_keep`` it. With ``pages`` it does a little, and
        nothing while another thread learns. Raises `StoreError`.
        """
        if not self.section.learn or not self._learning.acquire(blocking=pages == math.inf):
            return 0
        try:
            now = time.time() if now is None else now
            waiting = self.waiting()
            until = min(now - self.section.window_seconds - GRACE, now if waiting is None else waiting)
            learned = sum(self._learn(one, now, until, pages) for one in self._beliefs())
            if to_keep or time.monotonic() - self._kept > KEEP:
                self._kept = time.monotonic()
                for one in self._beliefs():
                    self._keep(one)
            return learned
        finally:
            self._learning.release()

    def _learn(self, one: Beliefs, now: float, until: float, pages: float) -> int:
        if self.held is not None and one.label not in self.held:
            return 0  # a model of which nobody knows when its policy was good
        limit = (self.held or {}).get(one.label)
        until = until if limit is None else min(until, limit)
        if now < one.mark[0]:
            LOG.warning("the clock went back: the policy learns anew from the slates of the store")
            one.restart()
        elif limit is not None and limit < one.mark[0]:
            one.restart()
            # Where the file is of another time, or not there, the store tells what had been learned by then.
            one.recall(limit, GOOD)
        return one.learn(until, pages)

    def _keep(self, one: Beliefs, good: bool = False) -> None:
        try:
            if good:
                one.write(GOOD)
            else:
                one.keep()
        except (GenreError, OSError) as error:
            # The store has all that it was made from.
            LOG.warning("what the policy has learned could not be written: %s", error)

    def _beliefs(self) -> list[Beliefs]:
        return [one for one in self._taught.values() if isinstance(one, Beliefs)]

    def ready(self, model: Loaded) -> None:
        """Have what is believed of a model's items at hand before it answers; a problem is told when it is asked."""
        try:
            found = self._taught.get(model.version)
            if found is not None and found.model is not model:
                # Read again: its run may have another policy now, and the old one's memory is to be let go of.
                self.learn(to_keep=True)
                self._taught.drop(model.version)
            self._of(model)
            self.learn()
        except GenreError as error:
            LOG.warning("the policy cannot choose among the items of model %s: %s", model.name, error)

    @property
    def learned(self) -> int:
        """Slates that it has learned from."""
        return sum(one.slates for one in self._beliefs())

    @property
    def forgotten(self) -> int:
        """Slates that it could not learn from."""
        return sum(one.unused for one in self._beliefs())

    # Whether it is worth it.

    def compared(self, since: float = 0.0) -> Compared:
        """What its users' slates earned beside those of the others of late, since it was started at most."""
        arms = [{"name": OTHERS, "share": 1 - self.section.share}, {"name": POLICY, "share": self.section.share}]
        since = max(since, self.since, time.time() - LATE)
        between = Experiment(self.name, "running", {"arms": arms}, "", 0.0)
        told, differences = results(between, self.store.slates.earned(self.name, self.worth, since))
        return Compared(told, differences[0] if differences else None)

    def judged(self) -> Compared:
        """The same since it was last surely better, so that many good days do not hide a bad one."""
        return self.compared(float(self.good.get("time", 0.0)))

    def _surely(self, found: Compared, verdict: str) -> tuple[float, float] | None:
        """The interval of the difference, where there are enough users on both sides and it says so."""
        difference = found.difference
        if difference is None or difference.verdict != verdict:
            return None
        return None if min(one.units for one in found.arms) < self.section.least else difference.ci95

    def is_worse(self, found: Compared) -> str | None:
        """Why it should not go on, where enough users on both sides show that it is worse."""
        ends = self._surely(found, "worse")
        if ends is None or found.difference is None:
            return None
        (low, high), lost = ends, -(found.difference.difference or 0.0)
        return f"its slates earned {lost:.4f} less than those of the others (95 % interval {-high:.4f} to {-low:.4f})"

    def goodness(self, found: Compared) -> dict[str, Any] | None:
        """What to settle of it, where enough users on both sides show that it is better and it learns on.

        What it believes is then written too.
        """
        if self._surely(found, "better") is None or self.held or not (self.section.learn and self._beliefs()):
            return None
        with self._learning:
            for one in self._beliefs():
                self._keep(one, good=True)
            marks = {one.label: one.mark[0] for one in self._beliefs()}
        return {"name": self.name, "time": time.time(), "marks": marks}

    def way_back(self, model: Loaded) -> dict[str, float] | None:
        """What it had learned from when it was last surely better; None where it never was, or was taken back since."""
        marks: dict[str, float] = self.good.get("marks", {})
        known = self.section.learn and label_of(model) in marks
        return marks if known and self.held is None else None


def _within(described: Mapping[str, Any]) -> Iterator[str]:
    """Types of the policies in a policy."""
    for value in described.values():
        if isinstance(value, Mapping) and "type" in value:
            yield value["type"]
            yield from _within(value)
