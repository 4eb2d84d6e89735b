"""One person's recommendation from 100,000 items: encode the history, score, take the first 100.

Sources are `model` (a transformer over the history, vectors of 128) and `popular`, what was seen is filtered out, and
the slate says what the head predicts. Items, people and texts are those of `benchmarks/scale.py`: drawn, with random
vectors in place of texts and untrained weights, which cost what trained ones cost. Without caches the same pipeline is
asked as if it had just been made: item vectors from the table of text vectors, ids, and histories are made for the
request; the table itself and the log stay in memory. The limit is the time in which the item vectors, which have to be
read once for an exact answer, can be read from memory.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from genre.component import Slot
from genre.config import ModelSection
from genre.filters.seen import Seen
from genre.model import Facts, MultiTaskModel, TrainedModel
from genre.nearest import recall
from genre.pipeline import Pipeline, named
from genre.searching import vectors_of
from genre.types import Query
from scale import World
from speedrows import table

ITEMS = 100_000
K = 100
ASKED = 20
"""People asked one after another in each measurement, of which the mean counts."""
SOURCES = ("model", "popular")


def served(world: World) -> Pipeline:
    """A fitted pipeline over the world."""
    n, texts = world.log.n_items, torch.from_numpy(world.resources.text_vectors())
    torch.manual_seed(7)
    facts = Facts(n, world.log.actions, 0.0, 1.0, {}, texts.shape[1])
    model = MultiTaskModel(ModelSection(), facts, torch.ones(n), None).eval()
    with torch.inference_mode():
        trained = TrainedModel(model, model.items(texts, torch.arange(n)), None)
    resources = replace(world.resources, model=trained)
    sources = named([Slot("sources").build(one) for one in SOURCES])
    made = Pipeline(
        data=world.data,
        resources=resources,
        sources=sources,
        states={name: source.fit(world.train, resources) for name, source in sources.items()},
        filters={"seen": Seen()},
        scorer=Slot("scorers").build("weighted"),
        scorer_state={"weights": np.ones(len(sources), dtype=np.float32)},
        heads=("next",),
    )
    return with_log(made, world)


def with_log(pipeline: Pipeline, world: World) -> Pipeline:
    """The pipeline with the log that it would read from its data."""
    pipeline.__dict__["log"] = world.log
    return pipeline


def indexed(pipeline: Pipeline, world: World) -> tuple[Pipeline, dict[str, Any]]:
    """The same through an index of the graph kind, with what that cost."""
    vectors = vectors_of(pipeline.sources["model"], {}, pipeline.resources)
    assert vectors is not None
    index = Slot("indexes").build("hnsw")
    started = time.perf_counter()
    state = index.build(vectors.items)
    facts = {"build_s": time.perf_counter() - started, "bytes": int(sum(one.nbytes for one in state.values()))}
    near = replace(pipeline, searches={"model": index.open(state, vectors.items)})
    return with_log(near, world), facts


def forgetful(pipeline: Pipeline, world: World) -> Callable[[int], Pipeline]:
    """The pipeline as it would be without what it keeps between requests."""
    texts = torch.from_numpy(world.resources.text_vectors())

    def fresh(_: int) -> Pipeline:
        kept = pipeline.resources.model
        assert isinstance(kept, TrainedModel)
        with torch.inference_mode():
            unit = torch.nn.functional.normalize(texts, dim=1)
            vectors = kept.model.items(unit, torch.arange(len(unit)))
        resources = replace(pipeline.resources, model=replace(kept, vectors=vectors))
        return with_log(replace(pipeline, resources=resources), world)

    return fresh


def asking(pipeline: Callable[[int], Pipeline], n_users: int, people: int) -> Callable[[], float]:
    """Seconds a request, other people in every turn."""
    turn = [0]

    def run() -> float:
        asked = [(turn[0] + i) % n_users for i in range(people)]
        turn[0] += people
        started = time.perf_counter()
        for user in asked:
            pipeline(user).recommend([Query(user_id=f"u{user}", k=K)])
        return (time.perf_counter() - started) / people

    return run


def reading(n_bytes: int) -> Callable[[], float]:
    """Seconds in which so many bytes can be read from memory, to find the highest of many numbers."""
    numbers = np.ones(max(1 << 26, n_bytes // 4), dtype=np.float32)

    def run() -> float:
        started = time.perf_counter()
        numbers.max()
        return (time.perf_counter() - started) * n_bytes / numbers.nbytes

    return run


def main(repeats: int, n_items: int = ITEMS) -> dict[str, Any]:
    """Measure and print."""
    world = World.of(n_items)
    exactly = served(world)
    near, facts = indexed(exactly, world)
    model = exactly.resources.model
    assert model is not None
    n_bytes, n_users = model.item_vectors().nbytes, world.log.n_users
    ways = [
        table.Way("ours, all items asked", asking(lambda _: exactly, n_users, ASKED)),
        table.Way("ours, through hnsw", asking(lambda _: near, n_users, ASKED)),
        table.Way("the same without caches", asking(forgetful(exactly, world), n_users, 1)),
        table.Way(f"limit of the first: {n_bytes / 1e6:.0f} MB of item vectors read once", reading(n_bytes)),
    ]
    rows = table.measure(ways, repeats)
    table.show(f"one person, {n_items:,} items, first {K}", rows, 1000, "ms")
    found = recall(*(_lists(one, n_users) for one in (near, exactly)))
    print(
        f"hnsw: built in {facts['build_s']:.1f} s, {facts['bytes'] / 1e6:.0f} MB, slates hold {found:.1%} of the exact"
    )
    return {"rows": rows, "items": n_items, "k": K, "bytes": n_bytes, "hnsw": {**facts, "recall": found}}


def _lists(pipeline: Pipeline, n_users: int) -> np.ndarray:
    queries = [Query(user_id=f"u{i}", k=K) for i in range(0, n_users, max(1, n_users // 100))]
    slates = pipeline.recommend(queries, block=1)
    return np.array([[int(one.item_id[1:]) for one in slate.items] + [-1] * (K - len(slate.items)) for slate in slates])
