"""The items that were added to a finished run: they join its catalogue, known by their texts alone.

An added item is to every part of the pipeline what an item of the catalogue is that nobody has chosen: the model has
its text and no vector of its own for it, and a source that counts has nothing to say of it. Added items stand behind
those of the catalogue, whose numbers stay, so that what was learned stays right.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from genre.data import Dataset, Histories, Log
from genre.errors import RunError
from genre.files import unseal
from genre.resources import Version, model_hash, resources_of
from genre.run import Run
from genre.sources import Resources, Source
from genre.states import load_state
from genre.types import Floats, State

if TYPE_CHECKING:
    import pyarrow as pa

    from genre.candidates import Candidates
    from genre.features import Feature

FORMAT = 1
"""Version of the layout of ``index/`` of a run."""


@dataclass(frozen=True)
class Index:
    """The items that were added to a run."""

    run: Run
    data: Dataset
    """The run's data as they were prepared, without the added items."""
    items: pa.Table
    """The added items, with the catalogue's columns."""
    vectors: State
    """``finetuned`` and ``before``: the model's vector of each; ``pretrained``: the language model's, as it came."""

    @classmethod
    def of(cls, run: Run, data: Dataset) -> Index | None:
        """The index of a run, None where nothing was added. Raises `RunError` when it is damaged or out of date."""
        index = read_index(run, data)
        if index is not None and stale(run, data):
            mend = f"genre index {run.folder} --add {run.path('index') / 'items.parquet'}"
            raise RunError(f"{run.path('index')}: was made with other data or another model; run '{mend}'")
        return index

    @cached_property
    def joined(self) -> Dataset:
        """The data with the added items behind those of the catalogue."""
        import pyarrow as pa

        return replace(self.data, items=pa.concat_tables([self.data.items, self.items]))

    def grow(self, model: Any, version: Version) -> Any:
        """The run's model with a vector for each added item; a `cross` model reads them as they are."""
        if model is None:
            return None
        if getattr(model, "form", None) is not None:
            return model.joined(model.vectors_of(replace(self.data, items=self.items)))
        return model.joined(self.vectors[version]) if version in self.vectors else replace(model, data=self.joined)

    def extend(
        self, sources: dict[str, Source], states: dict[str, State]
    ) -> tuple[dict[str, Source], dict[str, State]]:
        """Sources and states for the joined catalogue: extended where a source can, else asked of what it knows."""
        grown, known = dict(sources), dict(states)
        for name, source in sources.items():
            extend = getattr(source, "extend", None)
            state = extend(states[name], self.resources) if extend is not None else None
            if state is None:
                grown[name] = OfCatalogue(source, self.data.items.num_rows)
            else:
                known[name] = state
        return grown, known

    def extend_features(
        self, features: dict[str, Feature], states: dict[str, State]
    ) -> tuple[dict[str, Feature], dict[str, State]]:
        """The same for features; one that has learned nothing of any item knows the added ones as well."""
        grown, known = dict(features), dict(states)
        for name, feature in features.items():
            extend = getattr(feature, "extend", None)
            state = extend(states[name], self.resources) if extend is not None else None
            if state is not None:
                known[name] = state
            elif states[name]:
                grown[name] = FeatureOfCatalogue(feature, self.data.items.num_rows)
        return grown, known

    @cached_property
    def resources(self) -> Resources:
        """What a source may use of the added items alone: rows and vectors of theirs, none of the catalogue's."""
        made = resources_of(self.run.config, replace(self.data, items=self.items), None)
        stored = self.vectors.get("pretrained")
        return made if stored is None else replace(made, text_vectors=lambda: stored)


@dataclass(frozen=True)
class OfCatalogue:
    """A source that knows the catalogue it was fitted on, asked in a longer one: of the rest it has nothing to say."""

    source: Source
    n_items: int
    """Items of the catalogue; the added ones come behind them."""

    @property
    def top_k(self) -> int | None:
        """Candidates to retrieve."""
        return getattr(self.source, "top_k", None)

    def fit(self, log: Log, resources: Resources) -> State:
        """Learn from a log of the catalogue."""
        return self.source.fit(log, resources)

    def score(self, state: State, histories: Histories, resources: Resources) -> Floats:
        """The source's scores from what it knows of each history; -inf, which sinks, for the added items."""
        n = resources.items.num_rows
        known = replace(resources, items=resources.items.slice(0, self.n_items))
        scores = np.asarray(self.source.score(state, _within(histories, self.n_items), known), dtype=np.float32)
        return np.pad(scores, ((0, 0), (0, n - self.n_items)), constant_values=-np.inf)


@dataclass(frozen=True)
class FeatureOfCatalogue:
    """A feature that knows the catalogue it was fitted on, asked in a longer one: of the rest it knows nothing."""

    feature: Feature
    n_items: int
    """Items of the catalogue; the added ones come behind them."""

    def fit(self, log: Log, resources: Resources) -> State:
        """Learn from a log of the catalogue."""
        return self.feature.fit(log, resources)

    def values(
        self, state: State, candidates: Candidates, histories: Histories, resources: Resources
    ) -> dict[str, Floats]:
        """The feature's columns from what it knows of each history, NaN for the added items."""
        old = candidates.item < self.n_items
        known = replace(resources, items=resources.items.slice(0, self.n_items))
        found = self.feature.values(state, candidates.keep(old), _within(histories, self.n_items), known)
        columns = {name: np.full(len(candidates), np.nan, dtype=np.float32) for name in found}
        for name, values in found.items():
            columns[name][old] = values
        return columns


def _within(histories: Histories, n_items: int) -> Histories:
    """The histories without the events of items from ``n_items`` on."""
    keep = histories.item < n_items
    counts = np.bincount(histories.owner[keep], minlength=len(histories))
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    return replace(
        histories,
        offsets=offsets,
        item=histories.item[keep],
        value=histories.value[keep],
        action=histories.action[keep],
        time=None if histories.time is None else histories.time[keep],
    )


def read_index(run: Run, data: Dataset) -> Index | None:
    """The index as it stands on disk, out of date or not. Raises `RunError` when it is damaged."""
    import pyarrow.parquet as pq

    folder = run.path("index")
    if not folder.exists():
        return None
    try:
        unseal(folder, FORMAT, "genre index")
    except RunError as error:
        why = str(error).partition("; ")[0]
        raise RunError(
            f"{why}; delete {folder} and add the items again, with 'genre index {run.folder} --add'"
        ) from error
    return Index(run, data, pq.read_table(folder / "items.parquet"), load_state(folder / "vectors.safetensors"))


def stale(run: Run, data: Dataset) -> bool:
    """Whether the run's index was made with other data or another model than are there now."""
    path = run.path("index") / "manifest.json"
    if not path.exists():
        return False
    manifest = json.loads(path.read_text(encoding="utf-8"))
    return (manifest["data"], manifest["model"]) != (data.hash, model_hash(run))
