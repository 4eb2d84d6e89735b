"""Adding items to a finished run: their texts go through its language models, and nothing is trained."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from genre.additions import FORMAT, Index, read_index, stale
from genre.component import name_of
from genre.data import Dataset
from genre.errors import DataError, GenreError
from genre.files import replacing_folder, seal
from genre.newitems import NewItems, Row, differences, read_items
from genre.pipeline import Pipeline
from genre.resources import load_model, model_hash, resources_of
from genre.rows import Rejected, arrow
from genre.run import Run
from genre.states import save_state
from genre.types import State

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class Addition:
    """What adding a file did."""

    added: list[str]
    """Ids of items that are new."""
    updated: list[str]
    """Ids of added items whose row has changed."""
    unchanged: int
    """Rows equal to those that were there, in the index or in the catalogue."""
    rejected: Rejected = field(default_factory=list)
    total: int = 0
    """Items in the index now."""
    readers: list[str] = field(default_factory=list)
    """The sources that can find them; with none, nothing recommends an added item."""


def add(run: Run, file: Path) -> Addition:
    """Let the items of a file join the catalogue of a finished run; equal rows change nothing.

    Raises `RunError` when a part of the run is missing or damaged, `DataError` when the file cannot be used or changes
    an item of the catalogue, which was trained on. Then nothing is written.
    """
    if run.config.model.formulation.reads == "rows":
        raise GenreError(f"{run.folder}: model.formulation is text, which recommends nothing, so it has no catalogue")
    pipeline = Pipeline.load(run.folder, added=False)
    data, old = pipeline.data, read_index(run, pipeline.data)
    separator = getattr(run.config.data.reader, "category_separator", "|")
    new = read_items(file, data.items, run.config.model.template, separator)
    rows = _merged(data, old, new, file)
    outdated = stale(run, data)
    if outdated and not rows.all:
        shutil.rmtree(run.path("index"))
    elif rows.added or rows.updated or outdated:
        items = _table(list(rows.all.values()), data.items.schema)
        changed = set(rows.all) if outdated else {*rows.added, *rows.updated}
        models = {"finetuned": pipeline.resources.model, "before": load_model(run, data, "before")}
        vectors = _vectors(run, data, items, changed, models, old)
        _write(run, data, items, vectors, new.rejected)
    return Addition(rows.added, rows.updated, rows.unchanged, new.rejected, len(rows.all), _readers(run, pipeline))


def _readers(run: Run, pipeline: Pipeline) -> list[str]:
    """The sources that can find an item by its text alone; a model that was trained without text is none."""
    able = {name: source for name, source in pipeline.sources.items() if hasattr(source, "extend")}
    return [name for name, source in able.items() if name_of(source) != "model" or run.config.model.text]


@dataclass
class _Rows:
    """The rows of the index after an addition."""

    all: dict[str, Row]
    added: list[str]
    updated: list[str]
    unchanged: int


def _merged(data: Dataset, old: Index | None, new: NewItems, file: Path) -> _Rows:
    catalogue = {row["item_id"]: row for row in data.items.to_pylist()}
    before = {} if old is None else {row["item_id"]: row for row in old.items.to_pylist()}
    # Prepared anew, the catalogue may hold by now what was added to the old one.
    kept = {item: row for item, row in before.items() if item not in catalogue}
    rows = _Rows(kept, [], [], 0)
    wrong: list[str] = []
    for line, row in zip(new.lines, new.table.to_pylist(), strict=True):
        item = row["item_id"]
        if item in catalogue:
            differ = list(differences(row, catalogue[item], new.named))
            wrong += [f"{file}:{line}: item '{item}' differs in {', '.join(differ)}"] if differ else []
            rows.unchanged += not differ
        elif item in kept and not list(differences(row, kept[item], list(row))):
            rows.unchanged += 1
        else:
            (rows.updated if item in kept else rows.added).append(item)
            kept[item] = row
    if wrong:
        more = f" ({len(wrong)} such rows)" if len(wrong) > 1 else ""
        raise DataError(
            f"{wrong[0]} from the catalogue that was trained on{more}; give a new item a new id, or change the "
            "catalogue's own file and run from 'genre prepare' on"
        )
    return rows


def _vectors(run: Run, data: Dataset, items: pa.Table, changed: set[str], models: Any, old: Index | None) -> State:
    """Vectors of all items of the index; computed for those that ``changed``, the others have theirs."""
    ids = items["item_id"].to_pylist()
    fresh = np.array([item in changed for item in ids], dtype=bool)
    some = replace(data, items=items.filter(fresh))
    made: State = {"pretrained": resources_of(run.config, some, None).text_vectors()}
    made |= {v: m.vectors_of(some) for v, m in models.items() if m is not None and hasattr(m, "vectors_of")}
    if old is None or fresh.all():
        return made
    at = {item: row for row, item in enumerate(old.items["item_id"].to_pylist())}
    rows = np.array([at[item] for item in np.array(ids, dtype=object)[~fresh]], dtype=np.int64)
    whole: State = {}
    for name, vectors in made.items():
        whole[name] = np.empty((len(ids), vectors.shape[1]), dtype=np.float32)
        whole[name][fresh], whole[name][~fresh] = vectors, old.vectors[name][rows]
    return whole


def _write(run: Run, data: Dataset, items: pa.Table, vectors: State, rejected: Rejected) -> None:
    import pyarrow.parquet as pq

    with replacing_folder(run.path("index")) as aside:
        pq.write_table(items, aside / "items.parquet", compression="zstd")
        save_state(aside / "vectors.safetensors", vectors)
        if rejected:
            columns = {name: [row[name] for row in rejected] for name in ("file", "line", "reason", "row")}
            pq.write_table(arrow(columns), aside / "rejected.parquet")
        seal(aside, FORMAT, data=data.hash, model=model_hash(run), items=items.num_rows)


def _table(rows: list[Row], schema: pa.Schema) -> pa.Table:
    import pyarrow as pa

    return pa.Table.from_pylist(rows, schema=schema)
