"""What sources, indexes, ranking and one answer cost as the catalogue grows, beside what the machine must do at least.

    python benchmarks/scale.py [--sizes 3000 10000 30000 100000 300000] [--rows "index, hnsw" ...] [--out FILE]

No data set and no language model: items whose popularity falls off as Zipf's law says, a third as many people as items,
ten events a person, and random unit vectors in place of texts. Each row has a process of its own, so that its peak of
memory is its own; what stands there before the row begins (Python, libraries, the log) is told too. Settings are the
defaults. A dense EASE that would not fit into memory, or is larger than ``--most-dense`` items, is not tried. Threads
are those that ``OMP_NUM_THREADS`` allows. Sizes may be measured one by one: those of the same machine, threads and
versions stay in the file. On one core 10,000 items take a minute and a half.

An index holds vectors of 128 around a thousand centres, as texts have topics, and is asked for the first 100 of people
from the same; its share of the exact answer stands beside its size. One request is that of `speedrows/request.py`.
Below the table stands by which power of the number of items each row's time grows: 1 is in proportion.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from genre.cases import Cases
from genre.component import Slot
from genre.config import FEATURES
from genre.data import Dataset, Histories, Log
from genre.featurestates import fit_features
from genre.filters.seen import Seen
from genre.pipeline import Pipeline, named
from genre.rank import fit_scorer, fit_sources
from genre.run import machine, versions
from genre.sources import Resources, Source
from genre.sources.ease import EASE
from genre.systems import Catalogue, measure, metric_named, of_pipeline, rank_cases

EVENTS = 10
"""Events a person: the last is the test, the one before it validation."""
DIM = 384
"""Length of a text's vector, as of MiniLM."""
ASKED = 1000
"""People who are ranked, and whom a source is asked of."""
TAUGHT = 4000
"""People whom a scorer learns from at most."""
CELLS = 1 << 24
"""People times items at a time, as in the evaluation."""
MIXED = ["ease", "item_knn", "transitions", "content_knn", "popular"]
"""The sources of the pipelines."""
SINGLE: dict[str, dict[str, Any]] = {
    "popular": {"type": "popular"},
    "transitions": {"type": "transitions"},
    "item_knn": {"type": "item_knn"},
    "user_knn": {"type": "user_knn"},
    "label_propagation": {"type": "label_propagation"},
    "ials": {"type": "ials"},
    "ease (as shipped)": {"type": "ease"},
    "ease (dense)": {"type": "ease", "most_items": 10**9},
    "ease (sparse)": {"type": "ease", "most_items": 1},
}
INDEXES: dict[str, str] = {"index, exact": "exact", "index, hnsw": "hnsw", "index, ivf_pq": "ivf_pq"}
REQUESTS = {"one request, all items": "exact", "one request, index": "auto"}
CENTRES = 1000
WIDTH = 128
"""Length of a vector in an index, as the model's."""
FIRST = 100
"""Results that an index is asked for."""
RANKED = {"rank, weighted": "weighted", "rank, lambdamart": "lambdamart"}
ROWS = [*SINGLE, *RANKED, *INDEXES, *REQUESTS]
WAIT = 6 * 3600
"""Seconds after which a row is given up."""


@dataclass(frozen=True)
class World:
    """A log of so many items, and all that a pipeline needs beside it."""

    data: Dataset
    log: Log
    resources: Resources

    @classmethod
    def of(cls, n_items: int, seed: int = 7, n_users: int | None = None) -> World:
        """People draw items by popularity; which item is popular has nothing to do with its number."""
        rng = np.random.default_rng(seed)
        n_users = n_users or n_items // 3
        share = 1 / np.arange(1, n_items + 1)
        drawn = np.searchsorted(np.cumsum(share / share.sum()), rng.random(n_users * EVENTS))
        item = rng.permutation(n_items).astype(np.int32)[np.minimum(drawn, n_items - 1)]
        place = np.tile(np.arange(EVENTS), n_users)
        log = Log(
            user=np.repeat(np.arange(n_users, dtype=np.int32), EVENTS),
            item=item,
            action=np.zeros(len(item), dtype=np.int32),
            value=np.full(len(item), np.nan, dtype=np.float32),
            time=np.arange(len(item), dtype=np.float64),
            impression=np.full(len(item), -1, dtype=np.int32),
            part=np.where(place == EVENTS - 1, 2, np.where(place == EVENTS - 2, 1, 0)).astype(np.int8),
            n_users=n_users,
            n_items=n_items,
            actions=("view",),
        )
        items = pa.table({"item_id": [f"i{i}" for i in range(n_items)], "title": [""] * n_items})
        users = pa.table({"user_id": [f"u{u}" for u in range(n_users)]})
        nothing = pa.table({})
        vectors = rng.standard_normal((n_items, DIM), dtype=np.float32)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        resources = Resources(items, lambda: vectors, lambda texts: vectors[: len(texts)], users=users)
        return cls(Dataset(nothing, items, users, nothing, {}), log, resources)

    @property
    def train(self) -> Log:
        """What is fitted on."""
        return self.log.parts("train")

    def asked(self) -> Histories:
        """The people whom sources are asked of."""
        return Histories.of(self.train, np.arange(min(ASKED, self.log.n_users), dtype=np.int32))


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    """What the work gives, and its seconds."""
    started = time.perf_counter()
    found = work()
    return found, round(time.perf_counter() - started, 3)


def peak_mb() -> int:
    """The most memory that this process has held so far."""
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most // (1 << 20 if sys.platform == "darwin" else 1 << 10)


def single(world: World, name: str) -> dict[str, Any]:
    """Fit one source and ask it, a block of people at a time."""
    source: Source = Slot("sources").build(SINGLE[name])
    train, asked = world.train, world.asked()
    state, fit = timed(lambda: source.fit(train, world.resources))
    size = max(1, CELLS // world.log.n_items)

    def ask() -> None:
        for i in range(0, len(asked), size):
            source.score(state, asked.take(slice(i, i + size)), world.resources)

    _, score = timed(ask)
    found = {"fit_s": fit, "ask_s": score, "asked": len(asked), "peak_mb": peak_mb()}
    if "weights" in state and name.startswith("ease"):
        found["form"] = "all from all" if isinstance(state["weights"], np.ndarray) else "each from its nearest"
    return found


def ranked(world: World, name: str) -> dict[str, Any]:
    """Fit the sources, teach the scorer on validation, and rank people of the test."""
    train = world.train
    draft = Pipeline(
        data=world.data,
        resources=world.resources,
        sources=named([Slot("sources").build(one) for one in MIXED]),
        states={},
        filters={"seen": Seen()},
        scorer=Slot("scorers").build(RANKED[name]),
        scorer_state={},
    )
    if draft.scorer.reads == "features":
        draft = replace(draft, features=named([Slot("features").build(one) for one in FEATURES]))
    draft, fit = timed(lambda: fit_sources(draft, train))
    states, described = timed(lambda: fit_features(draft.features, train, world.resources))
    draft = replace(draft, feature_states=states)
    catalogue = Catalogue.of(train, world.resources)
    valid, test = Cases.of(world.log, "valid").sample(TAUGHT, 7), Cases.of(world.log, "test").sample(ASKED, 7)
    scorer, learn = timed(lambda: fit_scorer(draft, valid, catalogue, 7))
    final = replace(draft, scorer_state=scorer.state)
    ranking, ask = timed(lambda: rank_cases(of_pipeline(final), test, catalogue, 10))
    return {
        "fit_s": round(fit + described, 3),
        "scorer_s": learn,
        "taught": len(valid),
        "ask_s": ask,
        "asked": len(test),
        "peak_mb": peak_mb(),
        "ndcg@10": round(float(np.mean(measure(ranking, [metric_named("ndcg@10")])["ndcg@10"])), 5),
    }


def searched(name: str, n_items: int) -> dict[str, Any]:
    """Build an index, ask it for one person after another, and compare it with the exact answers."""
    from genre.indexes import VectorIndex
    from genre.nearest import exact
    from genre.searching import compared

    rng = np.random.default_rng(7)
    centres = rng.standard_normal((CENTRES, WIDTH), dtype=np.float32)
    drawn = rng.integers(0, CENTRES, n_items + 200)
    vectors = centres[drawn]
    vectors += 0.7 * rng.standard_normal(vectors.shape, dtype=np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors, people = vectors[:n_items], vectors[n_items:]
    index: VectorIndex = Slot("indexes").build(INDEXES[name])
    before = peak_mb()
    state, seconds = timed(lambda: index.build(vectors))
    found = compared(index.open(state, vectors), vectors, people, FIRST)
    size = sum(one.nbytes for one in state.values()) / 1e6
    _, reading = timed(lambda: exact(vectors, people[:1], FIRST))
    return {
        "fit_s": seconds,
        "ask_s": round(found["ms_a_person"] / 1000, 7),
        "asked": 1,
        "peak_mb": peak_mb(),
        "before_mb": before,
        "index_mb": round(size, 1),
        "recall": found["recall"],
        "form": f"{found['recall']:.1%} of the first {FIRST}, {size:.1f} MB beside the vectors",
        "peer": {"what": "asking all vectors", "s": reading, "gb": round(vectors.nbytes / 1e9, 3)},
    }


def requested(name: str, n_items: int) -> dict[str, Any]:
    """Recommend to one person after another."""
    from speedrows import request

    world = World.of(n_items)
    before = peak_mb()
    pipeline, fit = timed(lambda: request.served(world))
    model = pipeline.resources.model
    assert model is not None
    form = "asks all items"
    if REQUESTS[name] == "auto" and Slot("indexes").build("auto").chosen(n_items)[0] != Slot("indexes").build("exact"):
        (pipeline, facts), fit = timed(lambda: request.indexed(pipeline, world))
        form = f"hnsw, {facts['bytes'] / 1e6:.0f} MB"
    ask = request.asking(lambda _: pipeline, world.log.n_users, request.ASKED)
    seconds = float(np.median([ask() for _ in range(6)][1:]))
    reading = request.reading(model.item_vectors().nbytes)
    limit = {"what": "reading the item vectors", "s": float(np.median([reading() for _ in range(6)][1:]))}
    return {
        "fit_s": fit,
        "ask_s": round(seconds, 7),
        "asked": 1,
        "peak_mb": peak_mb(),
        "before_mb": before,
        "form": form,
        "peer": limit | {"gb": round(model.item_vectors().nbytes / 1e9, 3)},
    }


def peer(world: World, name: str) -> dict[str, Any]:
    """What the machine must do at least, or would have to without the trick: measured, or its size."""
    n, train = world.log.n_items, world.train
    if name.startswith("ease"):
        return {"what": "matrix of all items by all", "gb": round(4 * n * n / 1e9, 2)}
    if name in RANKED:
        vectors = world.resources.text_vectors()
        _, seconds = timed(lambda: [vectors[i : i + 40] @ vectors.T for i in range(0, min(ASKED, n), 40)])
        return {"what": "as many vectors times those of all items", "s": seconds}
    matrix = train.matrix()
    if name == "popular":
        _, seconds = timed(lambda: np.bincount(train.item, minlength=n))
        return {"what": "counting the events", "s": seconds}
    if name == "user_knn":
        _, seconds = timed(lambda: matrix[:ASKED] @ matrix.T)
        return {"what": "sparse product of those asked and all people", "s": seconds}
    if name == "ials":
        return {"what": "vectors of people and items", "gb": round(4 * 64 * (n + world.log.n_users) / 1e9, 3)}
    together, seconds = timed(lambda: matrix.T @ matrix)
    return {"what": "sparse product of items and items", "s": seconds, "gb": round(8 * together.nnz / 1e9, 3)}


def too_dense(name: str, n_items: int, most: int) -> str | None:
    """Why the dense EASE is not tried at this size."""
    if name != "ease (dense)":
        return None
    need, have = 4 * n_items**2, os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    # The matrix, and the sparse one that it is made from.
    if 1.5 * need > have:
        return f"not tried: {need / 1e9:.1f} GB for the matrix, {have / 1e9:.1f} GB in the machine"
    return f"not tried: more than {most:,} items (--most-dense)" if n_items > most else None


def row(name: str, n_items: int) -> dict[str, Any]:
    """One row, in this process."""
    if name in INDEXES or name in REQUESTS:
        made = searched(name, n_items) if name in INDEXES else requested(name, n_items)
        return {"row": name, "items": n_items, **made}
    world = World.of(n_items)
    before = peak_mb()
    found = ranked(world, name) if name in RANKED else single(world, name)
    return {"row": name, "items": n_items, "people": world.log.n_users, **found, "before_mb": before} | {
        "peer": peer(world, name)
    }


def apart(name: str, n_items: int) -> dict[str, Any]:
    """One row, in a process of its own; one that dies says how."""
    command = [sys.executable, __file__, "--row", name, "--sizes", str(n_items)]
    try:
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=WAIT)
    except subprocess.TimeoutExpired:
        return {"row": name, "items": n_items, "failed": f"given up after {WAIT / 3600:g} hours"}
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [f"ended with {done.returncode}"])[-1]
        return {"row": name, "items": n_items, "failed": last}
    return json.loads(done.stdout.splitlines()[-1])


def show(found: dict[str, Any]) -> None:
    """Print one row of the table."""
    told = found.get("failed") or found.get("left_out")
    start = f"{found['items']:>9,}  {found['row']:<22}"
    if told:
        print(f"{start} {told}", flush=True)
        return
    least = found["peer"]
    size = f"{least['gb']:.2f} GB" if "gb" in least else ""
    seconds = f"{least['s']:.4f} s" if "s" in least else ""
    what = f"{least['what']}: {', '.join(one for one in (seconds, size) if one)}"
    learn = f"{found['scorer_s']:9.1f}" if "scorer_s" in found else " " * 9
    each = 1000 * found["ask_s"] / found["asked"]
    form = f"  [{found['form']}]" if "form" in found else ""
    memory = f"{found['peak_mb']:8,} {found['before_mb']:7,}"
    print(f"{start} {found['fit_s']:8.2f} {learn} {each:9.2f} {memory}  {what}{form}", flush=True)


def exponents(rows: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """By which power of the number of items each row's seconds and memory grow: slopes of logarithms."""
    found: dict[str, dict[str, float]] = {}
    for name in dict.fromkeys(one["row"] for one in rows):
        mine = [one for one in rows if one["row"] == name and "ask_s" in one]
        if len({one["items"] for one in mine}) < 2:
            continue
        columns = {
            "fit": [one["fit_s"] for one in mine],
            "ask": [one["ask_s"] / one["asked"] for one in mine],
            "memory": [one["peak_mb"] - one["before_mb"] for one in mine],
        }
        sizes = np.log([one["items"] for one in mine])
        # What is too short or too small to be measured has no slope.
        good = {column: values for column, values in columns.items() if min(values) > 1e-6}
        found[name] = {column: round(float(np.polyfit(sizes, np.log(v), 1)[0]), 2) for column, v in good.items()}
    return found


def kept(out: Path, measured: set[tuple[str, int]], facts: dict[str, Any]) -> list[dict[str, Any]]:
    """Other rows that were measured before, if on the same machine with the same threads and versions."""
    found = json.loads(out.read_text(encoding="utf-8")) if out.exists() else {"rows": []}
    told = ("rows", "exponents")
    same = json.loads(json.dumps(facts)) == {name: value for name, value in found.items() if name not in told}
    return [one for one in found["rows"] if (one["row"], one["items"]) not in measured] if same else []


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--sizes", type=int, nargs="+", default=[10_000, 30_000], help="items of the catalogues")
    options.add_argument("--most-dense", type=int, default=30_000, help="items up to which the dense EASE is tried")
    options.add_argument("--rows", nargs="+", choices=ROWS, default=ROWS, help="rows to measure")
    options.add_argument("--row", choices=ROWS, help="this row alone, as JSON, in this process")
    options.add_argument("--out", type=Path, default=Path("benchmarks/results/scale.json"))
    chosen = options.parse_args()
    if chosen.row:
        print(json.dumps(row(chosen.row, chosen.sizes[0])))
        return
    head = f"{'fit s':>8} {'scorer s':>9} {'ms/person':>9} {'peak MB':>8} {'before':>7}"
    print(f"{'items':>9}  {'':<22} {head}  beside it")
    shipped = EASE()
    whole = f"each item from all others up to {shipped.most_items:,} items ({4 * shipped.most_items**2 / 1e9:.1f} GB)"
    switch = f"ease as shipped predicts {whole}, above that from its {shipped.neighbours} nearest alone"
    facts = {"ease": switch, "threads": os.environ.get("OMP_NUM_THREADS", "all"), "machine": machine()}
    facts |= {"versions": versions()}
    rows = kept(chosen.out, {(name, size) for name in chosen.rows for size in chosen.sizes}, facts)
    for size in chosen.sizes:
        for name in chosen.rows:
            why = too_dense(name, size, chosen.most_dense)
            rows.append({"row": name, "items": size, "left_out": why} if why else apart(name, size))
            show(rows[-1])
            ordered = sorted(rows, key=lambda one: one["items"])
            chosen.out.parent.mkdir(parents=True, exist_ok=True)
            told = {"rows": ordered, "exponents": exponents(ordered), **facts}
            chosen.out.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    print(switch)
    for name, powers in exponents(rows).items():
        print(f"{name}: grows with the items to the power of " + ", ".join(f"{v:.2f} ({c})" for c, v in powers.items()))


if __name__ == "__main__":
    main()
