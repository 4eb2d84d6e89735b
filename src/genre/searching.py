"""The indexes of a pipeline: which source has one, how much of the exact answer it finds, and items added since."""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from genre.component import Slot, describe, name_of
from genre.data import Histories
from genre.indexes import Search, VectorIndex
from genre.nearest import exact, recall
from genre.sources import Resources, Source, Vectors
from genre.states import load_state
from genre.types import Floats, Ints, State

ASKED = 200
"""People whom an index and the exact search are both asked for, to compare them."""


def vectors_of(source: Source, state: State, resources: Resources) -> Vectors | None:
    """The vectors that a source scores by; None where it does not."""
    ask = getattr(source, "vectors", None)
    return None if ask is None else ask(state, resources)


@dataclass(frozen=True)
class Built:
    """The index of one source."""

    index: VectorIndex
    state: State
    facts: dict[str, Any]
    """What was chosen and why, of how many items, what it cost, and how much of the exact answer it finds."""

    @property
    def sentence(self) -> str:
        """The facts, for a person to read."""
        facts = self.facts
        told = f"{facts['items']:,} items through {name_of(self.index)} ({facts['why']})"
        if "recall" not in facts:
            return told
        found = f"finds {facts['recall']:.1%} of the exact first {facts['k']} for {facts['asked']} people"
        speed = f"{facts['ms_a_person']:.2f} ms a person in place of {facts['ms_a_person_exact']:.2f}"
        return f"{told}; {found}, {speed}; built in {facts['seconds']:.1f} s, {facts['bytes'] / 1e6:.1f} MB"


def build(index: VectorIndex, vectors: Vectors, histories: Histories, k: int, seed: int) -> Built:
    """The index of a source's vectors, compared with the exact answers to some of ``histories``."""
    n = len(vectors.items)
    choose = getattr(index, "chosen", None)
    chosen, why = (index, "as set in pipeline.index") if choose is None else choose(n)
    facts: dict[str, Any] = {"index": describe(chosen), "why": why, "items": n}
    if name_of(chosen) == "exact":
        return Built(chosen, {}, facts)
    started = time.perf_counter()
    state = chosen.build(vectors.items)
    facts["vectors"] = _hash(vectors.items)
    facts["seconds"] = round(time.perf_counter() - started, 3)
    facts["bytes"] = int(sum(one.nbytes for one in state.values()))
    people = _some(histories, seed)
    if len(people):
        facts |= compared(chosen.open(state, vectors.items), vectors.items, vectors.of(people), min(k, n))
    return Built(chosen, state, facts)


def _some(histories: Histories, seed: int) -> Histories:
    known = np.flatnonzero(histories.lengths)
    drawn = np.random.default_rng(seed).permutation(known)[:ASKED]
    return histories.take(np.sort(drawn))


def compared(search: Search, vectors: Floats, people: Floats, k: int) -> dict[str, Any]:
    """Recall of the first ``k`` against the exact search, and what a person takes with either, asked one by one."""
    found, ms = _one_by_one(search, people, k)
    true, ms_exact = _one_by_one(lambda queries, most: exact(vectors, queries, most), people, k)
    kept = {"recall": round(recall(found, true), 5), "k": k, "asked": len(people)}
    return kept | {"ms_a_person": round(ms, 4), "ms_a_person_exact": round(ms_exact, 4)}


def _one_by_one(search: Search, people: Floats, k: int) -> tuple[Ints, float]:
    rows, seconds = [], []
    for i in range(len(people)):
        started = time.perf_counter()
        rows.append(search(people[i : i + 1], k)[0])
        seconds.append(time.perf_counter() - started)
    return np.concatenate(rows), 1000 * float(np.median(seconds))


def file_of(ranked: Path, name: str) -> Path:
    """Where the index of a source is kept in the folder of `genre rank`."""
    return ranked / "indexes" / f"{name}.safetensors"


def opened(
    ranked: Path, settings: dict[str, Any], sources: dict[str, Source], states: dict[str, State], resources: Resources
) -> dict[str, Search]:
    """The searches that `genre rank` made indexes for; items that were added since are compared one by one.

    A source whose vectors are others than those of its index, as of the model before fine-tuning, is asked without it.
    """
    found: dict[str, Search] = {}
    for name, source in sources.items():
        path = file_of(ranked, name)
        if not path.exists():
            continue
        vectors = vectors_of(source, states[name], resources)
        if vectors is None:
            # Asked of the catalogue that it was fitted on, as it cannot know added items.
            continue
        facts = settings[name]["index"]
        if _hash(vectors.items[: facts["items"]]) != facts["vectors"]:
            continue
        index: VectorIndex = Slot("indexes").build(facts["index"])
        search = index.open(load_state(path), vectors.items[: facts["items"]])
        found[name] = with_added(search, vectors.items[facts["items"] :], facts["items"])
    return found


def _hash(vectors: Floats) -> str:
    return hashlib.sha256(np.ascontiguousarray(vectors).data).hexdigest()


def with_added(search: Search, added: Floats, n: int) -> Search:
    """A search over ``n`` indexed vectors and those ``added`` behind them."""
    if not len(added):
        return search

    def both(queries: Floats, k: int) -> tuple[Ints, Floats]:
        rows, scores = search(queries, k)
        new, of_new = exact(added, queries, k)
        rows = np.concatenate([rows, np.where(new >= 0, new + n, -1)], axis=1)
        scores = np.concatenate([scores, of_new], axis=1)
        order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
        return np.take_along_axis(rows, order, 1).astype(np.int32), np.take_along_axis(scores, order, 1)

    return both
