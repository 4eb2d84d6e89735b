"""What a policy believes of one model's items: learned from the slates of the store, kept in a file, made anew from it.

A slate teaches once its time is over, in the order of when slates were made; what it earned is what the store's events
say. So what is believed is a function of the store: a process that is killed, or one beside it, comes to the same.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from genre.component import describe
from genre.data import Histories
from genre.errors import GenreError
from genre.files import replacing
from genre.policies import Arms, Doubles, Feedback, Policy
from genre.serve.loaded import BASE, Loaded
from genre.store import Store
from genre.store.faults import NotFound
from genre.store.records import Event, SlateRow
from genre.types import Bools, Floats, Ints, State

LOG = logging.getLogger("genre.serve")
FORMAT = 1
"""Version of the layout of the file."""
FILE, GOOD = Path("explore", "beliefs.safetensors"), Path("explore", "good.safetensors")
"""In the run folder of the model: what is believed, and what was when the policy was last surely better."""
PAGE = 500
"""Slates that are read at a time."""
SOME = 1000
"""People by whom the length of their vectors is measured."""
Mark = tuple[float, str]
"""Time and id of a slate; all that were made before it have taught."""
NOTHING: Mark = (0.0, "")


@dataclass(frozen=True)
class About:
    """What a policy is told of a person, beside the scores."""

    person: Floats
    """``[d]``: the person's vector; empty where the policy asks for none."""
    heads: Doubles
    """``[n, h]``: what heads predict of the person and each candidate."""

    def of(self, places: Sequence[int]) -> About:
        """The same for some of the candidates."""
        return About(self.person, self.heads[list(places)])


UNTOLD = About(np.zeros(0, dtype=np.float32), np.zeros((0, 0)))
"""Of a person of whom the policy need not know anything."""


def reader_of(model: Loaded) -> Any:
    """What makes vectors of people and items. Raises `GenreError` where the model has none."""
    reader: Any = model.path.resources.model
    if getattr(reader, "asking", None) is None or reader.ranking_head is None:
        raise GenreError(f"model '{model.name}' has no vectors, which this policy chooses by; take softmax")
    return reader


def packed(person: Floats) -> str:
    """A person's vector as it is kept with a slate, every bit of it."""
    return base64.b64encode(np.ascontiguousarray(person, dtype="<f4").tobytes()).decode()


def unpacked(text: Any, dim: int) -> Floats | None:
    """The vector again; None where it is not there, or not of this length."""
    try:
        raw = base64.b64decode(text, validate=True)
    except (TypeError, ValueError, binascii.Error):
        return None
    return np.frombuffer(raw, dtype="<f4") if len(raw) == 4 * dim else None


def label_of(model: Loaded) -> str:
    """A model as what is believed of it knows it: with the items that were added since, it is the same."""
    return f"{model.name}@{model.version[:BASE]}"


class Beliefs:
    """A policy's state for the items of one model. `learn`, `keep` and `recall` are for one thread at a time."""

    def __init__(self, policy: Policy, model: Loaded, store: Store, worth: Mapping[str, float], window: float) -> None:
        self.policy, self.model, self.store, self.worth, self.window = policy, model, store, dict(worth), window
        self.label = label_of(model)
        self.by_contexts = policy.reads == "contexts"
        self.vectors, self.size = np.zeros((len(model.item_ids), 0)), 1.0
        if self.by_contexts:
            reader, histories = reader_of(model), model.histories
            self.vectors = np.asarray(reader.item_vectors(), dtype=np.float64)
            people = np.asarray(reader.asking(histories.take(np.arange(min(SOME, len(histories))))), dtype=np.float64)
            # Contexts are then of the size of one.
            self.size = float(np.sqrt(np.square(self.vectors).mean() * np.square(people).mean())) or 1.0
        self.restart()

    def restart(self) -> None:
        """Forget everything, so that all slates of the store teach again."""
        self.state: State = self.policy.start(len(self.vectors), self.vectors.shape[1])
        self.mark = self.last = NOTHING
        self.slates = self.unused = self._kept = 0
        """Slates that taught, those that could not, and how many they were when the file was written."""

    # Choosing.

    def about(self, history: Histories, items: Sequence[str]) -> About:
        """What is known of a person; for the inference thread."""
        if not self.by_contexts:
            return UNTOLD
        person = np.asarray(reader_of(self.model).asking(history), dtype=np.float32)[0]
        return About(person, np.zeros((len(items), 0)))

    def arms(self, rows: Ints, scores: Doubles, about: About) -> tuple[Arms, Bools]:
        """The candidates as the policy is given them, and which of them are open: here all."""
        return Arms(rows, scores, self.contexts(about.person, rows)), np.ones(len(rows), dtype=bool)

    def placed(self, rows: Ints) -> Any:
        """Where each of the ranked items stands among the candidates."""
        return np.arange(len(rows))

    def contexts(self, person: Floats, rows: Ints) -> Doubles:
        """What is known of a person together with each of some items."""
        if not self.by_contexts:
            return np.zeros((len(rows), 0))
        return (person.astype(np.float64) / self.size) * self.vectors[rows]

    # Learning.

    def learn(self, until: float, pages: float = math.inf) -> int:
        """Learn from the slates that were made before ``until``, as far as they have not taught; says from how many.

        No more than so many ``pages`` are read, so that who has more to do comes back for the rest.
        """
        before = self.slates
        while self.mark[0] < until and pages > 0:
            pages -= 1
            page = self.store.slates.chosen(self.label, self.mark, until, PAGE)
            self._take(page)
            whole = len(page) == PAGE
            self.mark = (page[-1].created, page[-1].slate_id) if whole else (until, "")
        return self.slates - before

    def _take(self, page: Sequence[SlateRow]) -> None:
        events: dict[str, list[Event]] = {}
        for event in self.store.slates.answered(one.slate_id for one in page):
            events.setdefault(event.slate_id or "", []).append(event)
        found = [(slate, self._feedback(slate, events.get(slate.slate_id, []))) for slate in page]
        taught = [(slate, feedback) for slate, feedback in found if feedback is not None and len(feedback)]
        self.unused += len(found) - len(taught)
        try:
            self._update(taught)
        except GenreError:
            for one in taught:
                try:
                    self._update([one])
                except GenreError as error:
                    self.unused += 1
                    LOG.warning("the policy cannot learn from slate %s: %s", one[0].slate_id, error)

    def _update(self, some: Sequence[tuple[SlateRow, Feedback]]) -> None:
        if some:
            self.state = self.policy.update(self.state, joined([feedback for _, feedback in some]))
            self.slates += len(some)
            self.last = (some[-1][0].created, some[-1][0].slate_id)

    def _feedback(self, slate: SlateRow, events: Iterable[Event]) -> Feedback | None:
        """What a slate teaches: what stands in it by the policy's choice, and what was done with it within its time.

        The same action twice on an item is once. None where it does not say what the policy would have to know.
        """
        chosen = [(place, one) for place, one in enumerate(slate.items) if "propensity" in one]
        rows = [self.model.rows.get(one["item_id"], -1) for _, one in chosen]
        dim = self.vectors.shape[1]
        person = unpacked(slate.request.get("person"), dim) if dim else UNTOLD.person
        if person is None or min(rows, default=-1) < 0:
            return None
        ends = slate.created + self.window
        done = {(one.item_id, one.action) for one in events if (one.received or 0.0) <= ends}
        earned = {one["item_id"]: 0.0 for _, one in chosen}
        for item, action in sorted(done):
            if item in earned:
                earned[item] += self.worth.get(action, 0.0)
        item = np.array(rows, dtype=np.int32)
        scores = np.array([float(one["score"] or 0.0) for _, one in chosen])
        position = np.array([place for place, _ in chosen], dtype=np.int32)
        reward = np.array(list(earned.values()))
        return Feedback(item, reward, self.contexts(person, item), scores, position, np.zeros(len(item), np.int64))

    # The file.

    def _made_from(self) -> dict[str, Any]:
        """What must be the same for a file to be of use."""
        return {
            "format": FORMAT,
            "policy": describe(self.policy),
            "model": self.label,
            "store": self.store.name(),
            "rewards": self.worth,
            "window": self.window,
        }

    def keep(self) -> bool:
        """Write what was learned, if anything was since it was last written; whether it was."""
        over = self.slates + self.unused
        if over == self._kept:
            return False
        self.write(FILE)
        self._kept = over
        return True

    def write(self, file: Path) -> None:
        """Write what was learned to a file of the run, all or nothing."""
        from safetensors.numpy import save_file

        facts = {**self._made_from(), "mark": self.mark, "last": self.last, "sum": _sum_of(self.state)}
        facts |= {"slates": self.slates, "unused": self.unused, "size": self.size}
        with replacing(self.model.folder / file) as aside:
            arrays = {name: np.array(array, order="C") for name, array in self.state.items()}
            save_file(arrays, aside, metadata={"facts": json.dumps(facts)})
            aside.chmod(0o600)

    def recall(self, until: float, file: Path = FILE) -> str | None:
        """Take up what was written by ``until``; why not, where it does not fit. None too where there is no file."""
        path = self.model.folder / file
        if not path.exists():
            return None
        try:
            state, facts = _read(path)
            mark, last = ((float(facts[name][0]), str(facts[name][1])) for name in ("mark", "last"))
        except Exception as error:
            return f"it is damaged ({error})"
        why = self._misfit(state, facts, last)
        if why is None and mark[0] > until:
            why = "it is of a time to come"
        if why is not None:
            return why
        self.state, self.mark, self.last = state, mark, last
        self.size = facts["size"]
        self.slates, self.unused = facts["slates"], facts["unused"]
        self._kept = self.slates + self.unused if file == FILE else -1
        return None

    def _misfit(self, state: State, facts: dict[str, Any], last: Mark) -> str | None:
        """Why what was written is of no use here."""
        expected: dict[str, Any] = json.loads(json.dumps(self._made_from()))
        other = [name for name, mine in expected.items() if facts.get(name) != mine]
        if other:
            return f"it is of another {other[0]}"
        if any(state[name].shape != mine.shape for name, mine in self.state.items() if name in state):
            return "items were added since"
        if _sum_of(state) != facts["sum"]:
            return "its numbers are not those that were written"
        if not np.isclose(facts["size"], self.size, rtol=1e-4):
            return "it is of other vectors of people"
        return None if self._held(last) else "the store does not hold the slate that it learned from last"

    def _held(self, last: Mark) -> bool:
        """Whether the store has the last slate that taught, or may have pruned it: with all that are older."""
        if last == NOTHING:
            return True
        try:
            self.store.slates.get(last[1])
        except NotFound:
            earliest = self.store.slates.earliest()
            return earliest is None or earliest > last[0]
        return True


def joined(some: Sequence[Feedback]) -> Feedback:
    """The feedback of some slates, one after the other, each with a number of its own."""
    names = ("item", "reward", "contexts", "scores", "position", "weight")
    slate = np.repeat(np.arange(len(some)), [len(one) for one in some])
    return Feedback(slate=slate, **{name: np.concatenate([getattr(one, name) for one in some]) for name in names})


def _read(path: Path) -> tuple[State, dict[str, Any]]:
    from safetensors import safe_open

    with safe_open(path, framework="numpy") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, json.loads(file.metadata()["facts"])  # noqa: SIM118


def _sum_of(state: State) -> str:
    """SHA-256 of the names, shapes and bytes of some arrays."""
    made = hashlib.sha256()
    for name in sorted(state):
        array = np.asarray(state[name])
        made.update(f"{name} {array.dtype.str} {array.shape} ".encode())
        made.update(array.tobytes())
    return made.hexdigest()
