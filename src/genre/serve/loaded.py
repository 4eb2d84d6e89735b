"""A run in service: its pipeline, its catalogue by id, and the history of anybody as it is now."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from genre.data import SKIP, Histories
from genre.errors import GenreError, RunError
from genre.files import digest
from genre.pipeline import Pipeline
from genre.predicting import TextPredictor
from genre.resources import hash_of
from genre.run import Run
from genre.serve.allowing import Columns
from genre.serve.bounded import Bounded, Deadline, Worker
from genre.serve.quality import Quality
from genre.types import Bools, Floats, Ints, Query

BASE, ADDED = 12, 4
"""Letters of a version that tell of the run itself, and of items that were added to it since."""


class Happened(Protocol):
    """What a history needs of an event."""

    @property
    def item_id(self) -> str: ...
    @property
    def action(self) -> str: ...
    @property
    def value(self) -> float | None: ...
    @property
    def time(self) -> float | None: ...


@dataclass(frozen=True)
class Person:
    """Whom a slate is for: what they did, oldest first, and the id of the last event that counts in it."""

    history: Histories
    unknown: tuple[str, ...] = ()
    """Items of the history that the model does not know; they are left out of it."""


@dataclass(frozen=True)
class Loaded:
    """One model that answers; immutable, so that another takes its place whole."""

    folder: Path
    config: Any
    version: str
    """Made of the hashes of data, model and rank, and, in its end, of items added since: equal for equal answers."""
    pipeline: Pipeline | None
    """None for a model that reads texts alone."""
    texts: TextPredictor | None
    """None for a model that recommends."""
    deadline: Deadline
    workers: tuple[Worker, ...]
    loaded_at: float

    @classmethod
    def load(cls, folder: Path, form: str | None = None, threads: int = 1, quality: Quality | None = None) -> Loaded:
        """A finished run, whose sources heed the ``quality``.

        Raises `GenreError` when a file is missing, damaged, or older than what it was made from.
        """
        run = Run.open(folder)
        facts: dict[str, Any] = {"folder": folder, "config": run.config, "version": version_of(run)}
        if run.config.model.formulation.reads == "rows":
            texts = TextPredictor.load(folder, form)
            return cls(**facts, pipeline=None, texts=texts, deadline=Deadline(), workers=(), loaded_at=time.time())
        pipeline, deadline = Pipeline.load(folder, form=form), Deadline()
        workers = {name: Worker(f"source {name}", partial(compute_with, threads)) for name in pipeline.sources}
        heeded = quality or Quality()
        bounded = {name: Bounded(one, deadline, workers[name], heeded) for name, one in pipeline.sources.items()}
        made = cls(
            **facts,
            pipeline=pipeline.changed(sources=bounded),
            texts=None,
            deadline=deadline,
            workers=tuple(workers.values()),
            loaded_at=time.time(),
        )
        made.warm()
        return made

    @property
    def name(self) -> str:
        """Name of the run."""
        return self.config.name

    @cached_property
    def path(self) -> Pipeline:
        """The pipeline. Raises `GenreError` for a model that reads texts alone."""
        if self.pipeline is None:
            raise GenreError(f"model '{self.name}' answers about texts (POST /v1/predict) and recommends nothing")
        return self.pipeline

    @cached_property
    def item_ids(self) -> list[str]:
        """Id of every item, by row."""
        return self.path.item_ids

    @cached_property
    def rows(self) -> dict[str, int]:
        """Row of every item, by id; none for a model that reads texts alone."""
        return {} if self.pipeline is None else {item: row for row, item in enumerate(self.item_ids)}

    @cached_property
    def columns(self) -> Columns:
        """What can be asked of the items."""
        return Columns(self.path.data.items)

    @cached_property
    def users(self) -> dict[str, int]:
        """Row of every user that the run knows; none for a model that reads texts alone."""
        return (
            {}
            if self.pipeline is None
            else {user: row for row, user in enumerate(self.path.data.users["user_id"].to_pylist())}
        )

    @cached_property
    def actions(self) -> dict[str, int]:
        """Number of every action that the model has learned of."""
        return {action: code for code, action in enumerate(self.path.log.actions)}

    @cached_property
    def histories(self) -> Histories:
        """What everybody did in the run's data."""
        return Histories.of(self.path.log)

    @cached_property
    def popular(self) -> Ints:
        """All items, what most people chose first."""
        log = self.path.log
        return np.argsort(-np.bincount(log.item[log.positive], minlength=len(self.item_ids)), kind="stable").astype(
            np.int32
        )

    def warm(self) -> None:
        """Read what is read when it is first needed: tables, and the language model if a text is asked of it."""
        for read in (self.rows, self.columns, self.users, self.actions, self.histories, self.popular):
            assert read is not None
        reads_text = getattr(self.path.resources.model, "embed", None) is not None and self.config.model.text
        asked = [Query(history=(), k=1), Query(history=tuple(self.item_ids[:2]), k=1)]
        self.path.recommend([*asked, Query(text="a text", k=1)] if reads_text else asked)

    def rows_of(self, items: Iterable[str]) -> tuple[list[int], tuple[str, ...]]:
        """Rows of the items that the model knows, and the ids of the others."""
        items = list(items)
        known = [self.rows[item] for item in items if item in self.rows]
        return known, tuple(item for item in items if item not in self.rows)

    def person(self, user_id: str | None, events: Sequence[Happened]) -> Person:
        """A user: their history in the run's data, and the events that came since, by time.

        An event that the data hold too counts once. Actions that `data.actions` leaves out, and skips, make no history.
        """
        row = self.users.get(user_id, -1) if user_id is not None else -1
        old = self.histories.take(np.array([row])) if row >= 0 else Histories.of_items([[]])
        wanted = set(self.config.data.actions)
        counted = [e for e in events if e.action != SKIP and (not wanted or e.action in wanted)]
        had = set(zip(old.item.tolist(), old.action.tolist(), old.times.tolist(), strict=True))
        new = [(self.rows[e.item_id], self.actions.get(e.action, -1), e) for e in counted if e.item_id in self.rows]
        new = [one for one in new if (one[0], one[1], float(one[2].time or 0)) not in had]
        unknown = dict.fromkeys(e.item_id for e in counted if e.item_id not in self.rows)
        return Person(_joined(old, new, row), tuple(unknown))

    def of_items(self, items: Sequence[str]) -> Person:
        """Somebody who is known by a list of items alone, oldest first."""
        known, unknown = self.rows_of(items)
        return Person(Histories.of_items([known]), unknown)

    def mask(self, rows: Sequence[int], base: Bools | None) -> Bools | None:
        """The items of ``base`` (all if None) without some rows; None if that is all."""
        if not rows:
            return base
        mask = np.ones(len(self.item_ids), dtype=bool) if base is None else base.copy()
        mask[list(rows)] = False
        return mask

    def passes(self, history: Histories, rows: Ints) -> Bools:
        """Which of some items the pipeline's own filters let pass for one person: ``[rows]``."""
        good = np.ones(len(rows), dtype=bool)
        owner = np.zeros(len(rows), dtype=np.int64)
        for rule in self.path.filters.values():
            among = getattr(rule, "among", None)
            if among is None:
                good &= rule.keep(history, self.path.data.items)[0, rows]
            else:
                good &= among(history, self.path.data.items, owner, rows)
        return good

    def similar(self, row: int, k: int, allowed: Bools) -> tuple[Ints, Floats]:
        """The items whose vectors are nearest to an item's, and their cosines. Raises `GenreError` without vectors."""
        unit = self.unit_vectors
        scores = np.where(allowed, unit @ unit[row], -np.inf)
        scores[row] = -np.inf
        order = np.argsort(-scores, kind="stable")[:k]
        order = order[np.isfinite(scores[order])]
        return order.astype(np.int32), scores[order]

    @cached_property
    def unit_vectors(self) -> Floats:
        """The model's item vectors, else those of the pretrained language model, each of length 1."""
        model = self.path.resources.model
        if model is not None and model.ranking_head is not None:
            vectors = model.item_vectors()
        else:
            vectors = self.path.resources.text_vectors()
        return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)

    def embed(self, texts: list[str]) -> Floats:
        """Texts through the fine-tuned language model. Raises `GenreError` for a model that does not read text."""
        model: Any = self.path.resources.model
        if getattr(model, "embed", None) is None:
            raise GenreError(f"model '{self.name}' makes no vectors of texts")
        return model.embed(texts)

    def close(self) -> None:
        """Let its threads end."""
        for worker in self.workers:
            worker.close()


def _joined(old: Histories, new: list[tuple[int, int, Any]], row: int) -> Histories:
    if not new:
        return old
    values = [float("nan") if event.value is None else event.value for _, _, event in new]
    item = np.concatenate([old.item, np.array([one[0] for one in new], dtype=np.int32)])
    action = np.concatenate([old.action, np.array([one[1] for one in new], dtype=np.int32)])
    value = np.concatenate([old.value, np.array(values, dtype=np.float32)])
    when = np.concatenate([old.times, np.array([event.time or np.nan for _, _, event in new], dtype=np.float64)])
    # What has no time came before what has one.
    order = np.argsort(np.where(np.isnan(when), -np.inf, when), kind="stable")
    offsets = np.array([0, len(item)], dtype=np.int64)
    user = np.array([row], dtype=np.int32)
    return Histories(offsets, item[order], value[order], action[order], (None,), user, when[order])


def version_of(run: Run) -> str:
    """Hash of what a run's answers depend on. Raises `RunError` where a stage is missing."""
    hashes: list[str | None] = []
    reads_rows = run.config.model.formulation.reads == "rows"
    for stage in ("data",) if reads_rows else ("data", "rank"):
        hashes.append(_hash(run.path(stage) / "manifest.json"))
    hashes.append(hash_of(run, "finetuned"))
    added = run.path("index") / "manifest.json"
    end = digest(_hash(added)) if added.exists() else "0" * ADDED
    return digest(hashes)[:BASE] + end[:ADDED]


def _hash(manifest: Path) -> str:
    if not manifest.exists():
        raise RunError(f"{manifest}: not there; finish the run with 'genre run'")
    try:
        return json.loads(manifest.read_text(encoding="utf-8"))["hash"]
    except (ValueError, KeyError) as error:
        raise RunError(f"{manifest}: damaged ({error}); finish the run anew with 'genre run'") from error


def compute_with(threads: int) -> None:
    """Let torch compute with so many threads in the thread that calls; its own default is all cores."""
    import torch

    torch.set_num_threads(threads)
