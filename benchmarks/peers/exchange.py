"""What a peer is given, how its settings are chosen and what it gives back; numpy alone, so that any library can stand
beside it. `offer.py` writes the task from a prepared run and measures what comes back with the package's own code.

Every peer does the same: so many trials of settings from its own list, each trained on the training part until its time
is up or validation stops rising; the best goes on for a longer time; then it is trained again on training and
validation, for as many epochs as were best, and scores every item for every test case.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

VERSION = 1
"""To be raised when peers are trained or tried in another way, so that what was found before is found again."""
LONGER = 10
"""The best trial may go on for so many times the cap of a trial. Time is that of the processor, all threads together,
so that other work on the machine takes nothing from a peer."""
PATIENCE = 4
"""Looks at validation without a better one before a training ends."""
LOOKS = 12
"""Looks at validation within the cap of a trial, at most; a look costs as much as a short epoch."""
CUT = 10
"""Places of the list that settings are chosen by: ndcg@10."""
CELLS = 1 << 24
"""Most scores at a time."""

Rows = tuple[NDArray[np.int32], NDArray[np.int32]]
"""Users and items of interactions, by user and then time."""


@dataclass(frozen=True)
class Ragged:
    """Lists of items: list ``i`` is ``items[offsets[i]:offsets[i + 1]]``."""

    offsets: NDArray[np.int64]
    items: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def take(self, start: int, stop: int) -> Ragged:
        """The lists from ``start`` to ``stop``."""
        offsets = self.offsets[start : stop + 1]
        return Ragged(offsets - offsets[0], self.items[offsets[0] : offsets[-1]])

    def mask(self, n_items: int) -> NDArray[np.bool_]:
        """Which items each list holds: ``[lists, items]``."""
        found = np.zeros((len(self), n_items), dtype=bool)
        found[np.repeat(np.arange(len(self)), np.diff(self.offsets)), self.items] = True
        return found

    def padded(self, length: int, left: bool, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
        """The latest ``length`` items of each list as ``numbers[item]``, without those of -1; 0 where there is none."""
        owner = np.repeat(np.arange(len(self)), np.diff(self.offsets))
        mapped = numbers[self.items]
        owner, mapped = owner[mapped >= 0], mapped[mapped >= 0]
        counts = np.bincount(owner, minlength=len(self))
        ends = np.cumsum(counts)
        age = np.repeat(ends, counts) - 1 - np.arange(len(owner))
        owner, mapped, age = owner[age < length], mapped[age < length], age[age < length]
        shown = np.minimum(counts, length)[owner]
        found = np.zeros((len(self), length), dtype=np.int64)
        found[owner, length - 1 - age if left else shown - 1 - age] = mapped
        return found


@dataclass(frozen=True)
class Asked:
    """Questions: who, with which history, what came next, and out of what where that is not every unseen item."""

    user: NDArray[np.int32]
    history: Ragged
    targets: Ragged
    shown: Ragged | None

    def __len__(self) -> int:
        return len(self.user)

    def take(self, start: int, stop: int) -> Asked:
        """The questions from ``start`` to ``stop``."""
        shown = None if self.shown is None else self.shown.take(start, stop)
        return Asked(self.user[start:stop], self.history.take(start, stop), self.targets.take(start, stop), shown)


@dataclass(frozen=True)
class Task:
    """A data set, split, as whole numbers."""

    n_users: int
    n_items: int
    train: Rows
    valid: Rows
    words: Ragged
    """Words of each item's text, as numbers; what a hybrid may use."""
    n_words: int
    asked: dict[str, Asked]
    """``valid`` and ``test``."""

    def save(self, path: Path) -> None:
        """Write to an npz file."""
        arrays: dict[str, Any] = {"sizes": np.array([self.n_users, self.n_items, self.n_words])}
        arrays |= _named("words", self.words)
        for part in ("train", "valid"):
            arrays[f"{part}_rows"] = np.stack(getattr(self, part))
        for part, asked in self.asked.items():
            arrays[f"{part}_user"] = asked.user
            for name in ("history", "targets", "shown"):
                lists = getattr(asked, name)
                arrays |= {} if lists is None else _named(f"{part}_{name}", lists)
        np.savez(path, **arrays)

    @classmethod
    def load(cls, path: Path) -> Task:
        """Read what `save` wrote."""
        with np.load(path) as file:
            found = dict(file)
        asked = {}
        for part in ("valid", "test"):
            lists = (_ragged(found, f"{part}_{name}") for name in ("history", "targets", "shown"))
            asked[part] = Asked(found[f"{part}_user"], *lists)  # type: ignore[arg-type]
        n_users, n_items, n_words = (int(size) for size in found["sizes"])
        train, valid = (tuple(found[f"{part}_rows"]) for part in ("train", "valid"))
        words = _ragged(found, "words")
        assert words is not None
        return cls(n_users, n_items, train, valid, words, n_words, asked)  # type: ignore[arg-type]

    def typical_length(self, least: int = 10, most: int = 50) -> int:
        """A length that holds 90 % of the histories whole: longer ones cost time and gain little."""
        lengths = np.bincount(self.train[0], minlength=self.n_users)
        return int(np.clip(np.quantile(lengths[lengths > 0], 0.9), least, most))


def _named(name: str, lists: Ragged) -> dict[str, Any]:
    return {f"{name}_offsets": lists.offsets, f"{name}_items": lists.items}


def _ragged(found: dict[str, Any], name: str) -> Ragged | None:
    return Ragged(found[f"{name}_offsets"], found[f"{name}_items"]) if f"{name}_offsets" in found else None


class Model(Protocol):
    """A peer in training."""

    def epoch(self) -> None:
        """Go over the rows once."""
        ...

    def score(self, asked: Asked) -> NDArray[np.float32]:
        """Score of every item for every question, ``[questions, items]``; not finite where it has none."""
        ...


Build = Callable[[Task, Rows, dict[str, Any], int], Model]
"""Makes a peer from the task, the rows to learn from, settings and a seed."""


@dataclass(frozen=True)
class Peer:
    """A model of a library."""

    build: Build
    trials: list[dict[str, Any]]
    """Settings to try, the most usual first."""


def ndcg(score: Callable[[Asked], NDArray[np.float32]], asked: Asked, n_items: int) -> float:
    """Mean ndcg@10 over all unseen items, or those shown; what is scored as high as a target stands above it."""
    total, size = 0.0, max(1, CELLS // n_items)
    for start in range(0, len(asked), size):
        block = asked.take(start, start + size)
        allowed = ~block.history.mask(n_items) if block.shown is None else block.shown.mask(n_items)
        scores = score(block)
        total += _gains(np.where(allowed, np.where(np.isfinite(scores), scores, -np.inf), np.nan), block.targets)
    return total / max(1, len(asked))


def _gains(values: NDArray[np.float32], targets: Ragged) -> float:
    """Sum of ndcg@10 over the rows of ``values``, which are nan where an item may not be shown."""
    discount = 1 / np.log2(np.arange(CUT) + 2)
    owner = np.repeat(np.arange(len(targets)), np.diff(targets.offsets))
    own = values[owner, targets.items]
    ahead = np.zeros(len(own), dtype=np.int64)
    for i in range(0, len(own), 256):
        ahead[i : i + 256] = (values[owner[i : i + 256]] >= own[i : i + 256, None]).sum(1)
    total = 0.0
    for start, stop in zip(targets.offsets[:-1], targets.offsets[1:], strict=True):
        mine = np.flatnonzero(~np.isnan(own[start:stop])) + start
        mine = mine[np.argsort(-own[mine], kind="stable")]
        # Fellow targets stand in order of score: of those that `ahead` counts, only the ones before are ahead.
        fellows = (own[mine][None, :] >= own[mine][:, None]).sum(1)
        rank = ahead[mine] - fellows + np.arange(len(mine))
        total += discount[rank[rank < CUT]].sum() / discount[: min(CUT, stop - start)].sum()
    return total


@dataclass
class Course:
    """One training, watched on validation."""

    model: Model
    settings: dict[str, Any]
    epochs: int = 0
    seconds: float = 0.0
    best: float = -1.0
    best_epoch: int = 0
    ended: str = ""
    looks: list[tuple[int, float]] = field(default_factory=list)
    """Epoch and ndcg@10 of every look at validation."""

    def go_on(self, until: float, between: float, look: Callable[[Model], float]) -> None:
        """Train until ``until`` seconds are used in all, with looks at least ``between`` seconds apart."""
        last = self.seconds
        while self.ended != "validation stopped rising":
            started = time.process_time()
            self.model.epoch()
            self.epochs += 1
            self.seconds += time.process_time() - started
            if self.seconds - last >= between or self.seconds >= until:
                started = time.process_time()
                self._keep(look(self.model))
                self.seconds += time.process_time() - started
                last = self.seconds
            if self.seconds >= until:
                self.ended = self.ended or "time"
                break

    def _keep(self, value: float) -> None:
        self.looks.append((self.epochs, value))
        if value > self.best:
            self.best, self.best_epoch = value, self.epochs
        since = [value for epoch, value in self.looks if epoch > self.best_epoch]
        self.ended = "validation stopped rising" if len(since) >= PATIENCE else ""


def search(peer: Peer, task: Task, n_trials: int, cap: float, seed: int) -> tuple[Model, dict[str, Any]]:
    """The peer with its best settings, trained on training and validation; and how it came about."""

    def look(model: Model) -> float:
        return ndcg(model.score, task.asked["valid"], task.n_items)

    best: Course | None = None
    trials = []
    for settings in peer.trials[:n_trials]:
        course = Course(peer.build(task, task.train, settings, seed), settings)
        course.go_on(cap, cap / LOOKS, look)
        print(f"{settings}: {course.best:.4f} at epoch {course.best_epoch} of {course.epochs}", flush=True)
        trials.append({"settings": settings, "ndcg@10": course.best, "epochs": course.epochs, "ended": course.ended})
        if best is None or course.best > best.best:
            best = course
    assert best is not None
    if best.ended == "time":
        best.ended = ""
        best.go_on(best.seconds + LONGER * cap, cap / LOOKS, look)
    print(f"best {best.settings}: {best.best:.4f} at epoch {best.best_epoch} of {best.epochs}", flush=True)
    both = (np.concatenate([task.train[0], task.valid[0]]), np.concatenate([task.train[1], task.valid[1]]))
    order = np.argsort(both[0], kind="stable")
    final = peer.build(task, (both[0][order], both[1][order]), best.settings, seed)
    for _ in range(best.best_epoch):
        final.epoch()
    facts = {"settings": best.settings, "epochs": best.best_epoch, "ended": best.ended, "looks": best.looks}
    return final, {"trials": trials, "valid": {"ndcg@10": best.best}, **facts}


def run(peers: dict[str, Peer]) -> None:
    """The program of a library's file: read the task, search, write ``scores.npy`` and ``found.json``."""
    parser = argparse.ArgumentParser()
    parser.add_argument("task", type=Path, help="task.npz")
    parser.add_argument("out", type=Path, help="folder to write to; also the working folder of the library")
    parser.add_argument("--model", choices=list(peers), required=True)
    parser.add_argument("--trials", type=int, default=6)
    parser.add_argument("--cap", type=float, default=60, help="processor seconds a trial")
    parser.add_argument("--seed", type=int, default=7)
    chosen = parser.parse_args()
    task, out = Task.load(chosen.task), chosen.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    os.chdir(out)
    started = time.perf_counter()
    model, found = search(peers[chosen.model], task, chosen.trials, chosen.cap, chosen.seed)
    asked, size = task.asked["test"], max(1, CELLS // task.n_items)
    scores = np.lib.format.open_memmap(
        out / "scores.npy", mode="w+", dtype=np.float32, shape=(len(asked), task.n_items)
    )
    for start in range(0, len(asked), size):
        scores[start : start + size] = model.score(asked.take(start, start + size))
    scores.flush()
    found["seconds"] = round(time.perf_counter() - started, 1)
    (out / "found.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
