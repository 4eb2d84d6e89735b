"""The log that the next model learns from: that of the last run, and what happened since, divided by time."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from genre.component import Slot
from genre.data import Dataset
from genre.datasets import Reader, Reading
from genre.errors import DataError, GenreError
from genre.files import replacing_folder, seal, unseal, write_json
from genre.prepare import seconds_of
from genre.refreshsection import RefreshSection
from genre.rows import Rejected, arrow, numbers, typed
from genre.run import Run
from genre.stores import Database

if TYPE_CHECKING:
    import pyarrow as pa

FORMAT = 1
"""Version of the layout of the folder with the log."""
KEY = ["user_id", "item_id", "action", "timestamp"]
"""What tells an event from others, as everywhere in the package."""
HELD = "held"
"""What the table of the held-out test of the last run is called: kept from training once, to see what is forgotten."""


@dataclass(frozen=True)
class Grown:
    """The whole log, before it is prepared."""

    interactions: pa.Table
    """With the column ``part``: the newest events are the test, those before them choose, the rest trains. The test of
    the last run fills histories alone."""
    items: pa.Table
    users: pa.Table | None
    rejected: list[dict[str, object]]
    new: NDArray[np.bool_]
    """Which events the last run did not have."""
    facts: dict[str, Any]


def of_store(last: Run, database: Database) -> Reading:
    """What a run learned from and what the store has since."""
    described = {"type": "store", "store": database, "run": last.folder.absolute()}
    return Slot("datasets").build(described).read()


def of_file(last: Run, data: Dataset, log: Path, items: Path | None, users: Path | None) -> Reading:
    """What a run learned from, and the events of a file, whose columns are called as in the run's own log.

    Raises `DataError` where the file cannot be used.
    """
    reader: Any = last.config.data.reader
    names = ("columns", "item_columns", "user_columns", "action", "actions", "category_separator", "encoding")
    given = {name: getattr(reader, name) for name in names if hasattr(reader, name)}
    tables = {"interactions": log, "items": items, "users": users}
    found: Reading = Slot("datasets").build({"type": "table", **given, **tables}).read()
    since = _named(found.interactions, found.rejected)
    log_table = _joined([data.interactions.drop_columns(["part"]), since])
    made = (_over(data.items, found.items, "item_id"), _over(data.users, found.users, "user_id"))
    return Reading(log_table, *made, found.rejected, name=found.name, source=found.source)


def grown(last: Run, data: Dataset, reading: Reading, section: RefreshSection) -> Grown:
    """Give every event its part. Raises `GenreError` where too little is new, `DataError` where times are missing."""
    import pyarrow as pa

    log = _named(reading.interactions, reading.rejected)
    parts, new = _inherited(log, data, last)
    time = log["timestamp"].to_numpy(zero_copy_only=False)
    fresh = np.flatnonzero(new)
    if len(fresh) < section.fewest:
        raise GenreError(
            f"{len(fresh)} events are new since {last.folder}, and refresh.fewest asks for {section.fewest}; wait for "
            "more, or lower it"
        )
    if np.isnan(time[fresh]).any():
        n = int(np.isnan(time[fresh]).sum())
        raise DataError(f"{n} of {len(fresh)} new events have no timestamp, by which old and new are told apart")
    ordered = np.sort(time[fresh])
    cuts = {
        "valid_from": float(ordered[int(len(ordered) * (1 - section.held_out - section.validation))]),
        "test_from": float(ordered[int(len(ordered) * (1 - section.held_out))]),
    }
    later = np.where(time >= cuts["test_from"], "test", np.where(time >= cuts["valid_from"], "valid", "train"))
    parts[fresh] = later[fresh]
    log = log.append_column("part", pa.array(parts.tolist(), pa.string()))
    counts = {name: int((later[fresh] == name).sum()) for name in ("train", "valid", "test")}
    facts = {"events": len(fresh), **cuts, "parts": counts, "source": reading.source}
    return Grown(log, _items(reading, last), reading.users, list(reading.rejected), new, facts)


def write(grown_log: Grown, folder: Path, name: str, old: Dataset, drift: list[dict[str, Any]]) -> None:
    """Write the log as files, with what the detectors say of it, all or nothing."""
    import pyarrow.parquet as pq

    with replacing_folder(folder) as aside:
        pq.write_table(grown_log.interactions, aside / f"{_file_name(name)}.parquet", compression="zstd")
        pq.write_table(grown_log.items, aside / "items.parquet", compression="zstd")
        if grown_log.users is not None:
            pq.write_table(grown_log.users, aside / "users.parquet", compression="zstd")
        if grown_log.rejected:
            columns = ("file", "line", "reason", "row")
            made = {one: [str(row.get(one, "")) for row in grown_log.rejected] for one in columns}
            pq.write_table(arrow(made), aside / "rejected.parquet")
        held = old.interactions.filter([part == "test" for part in old.interactions["part"].to_pylist()])
        pq.write_table(held.select(KEY), aside / f"{HELD}.parquet", compression="zstd")
        facts = {**grown_log.facts, "rejected": len(grown_log.rejected)}
        write_json(aside / "drift.json", drift)
        seal(aside, FORMAT, name=_file_name(name), facts=facts, users=grown_log.users is not None)


def facts_of(folder: Path) -> dict[str, Any]:
    """What was written, and how much of it is new. Raises `RunError` where a byte has changed."""
    return unseal(folder, FORMAT, "genre refresh")["facts"]


def drift_of(folder: Path) -> list[dict[str, Any]]:
    """What the detectors said of the new events beside the old ones."""
    return json.loads((folder / "drift.json").read_text(encoding="utf-8"))


def reader_of(folder: Path, licence: str) -> Reader:
    """The reader of a log that was written. Raises `RunError` where a byte has changed."""
    manifest = unseal(folder, FORMAT, "genre refresh")
    files = {"interactions": folder / f"{manifest['name']}.parquet", "items": folder / "items.parquet"}
    files |= {"users": folder / "users.parquet"} if manifest["users"] else {}
    absolute = {name: path.absolute() for name, path in files.items()}
    return Slot("datasets").build({"type": "table", **absolute, "licence": licence})


def _file_name(name: str) -> str:
    return re.sub(r"[^\w-]+", "_", name) or "log"


def _named(log: pa.Table, rejected: Rejected) -> pa.Table:
    """The columns that a log may have when it is written again, in one type each; what is none goes to ``rejected``."""
    import pyarrow as pa

    place = [log[name].to_pylist() if name in log.column_names else [None] * log.num_rows for name in ("file", "line")]
    log = log.drop_columns([name for name in ("file", "line", "part") if name in log.column_names])
    wrong = np.full(log.num_rows, "", dtype=object)
    for name in log.column_names:
        column = log[name]
        if name in ("user_id", "item_id", "action"):
            column = column.cast(pa.string())
        elif name in ("timestamp", "value", "position", "propensity"):
            values, bad = seconds_of(column) if name == "timestamp" else numbers(column)
            column = pa.array(values, pa.float64(), from_pandas=True)
            wrong[bad & (wrong == "")] = f"{name} is no {'time' if name == 'timestamp' else 'number'}"
        else:
            column = typed(column)
        log = log.set_column(log.column_names.index(name), name, column)
    for row in np.flatnonzero(wrong != ""):
        words = ", ".join(f"{name}={log[name][int(row)].as_py()}" for name in log.column_names)
        rejected.append({"file": place[0][row], "line": place[1][row], "reason": wrong[row], "row": words})
    if "timestamp" not in log.column_names:
        log = log.append_column("timestamp", pa.nulls(log.num_rows, pa.float64()))
    return log.filter(pa.array(wrong == ""))


def _inherited(log: pa.Table, data: Dataset, last: Run) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """The part of every event that the last run had, and which events it did not have.

    What trained or chose trains; its test is kept for histories, as the test of what is forgotten; what was kept from
    it in the same way trains now.
    """
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    teaches = pc.call_function("is_in", [data.interactions["part"]], pc.SetLookupOptions(pa.array(["train", "valid"])))
    old = _keys(data.interactions).append_column("teaches", teaches.cast(pa.int8()))
    earlier = last.path("refresh") / "log" / f"{HELD}.parquet"
    if earlier.exists():
        freed = _keys(pq.read_table(earlier))
        freed = freed.append_column("teaches", pa.array(np.ones(freed.num_rows, dtype=np.int8)))
        old = pa.concat_tables([old, freed])
    known = old.group_by(KEY).aggregate([("teaches", "max")])
    asked = _keys(log).append_column("row", [np.arange(log.num_rows)]).join(known, KEY).sort_by("row")
    found = asked["teaches_max"].to_numpy(zero_copy_only=False)
    parts = np.full(log.num_rows, None, dtype=object)
    parts[np.nan_to_num(np.asarray(found, dtype=np.float64), nan=-1.0) == 1] = "train"
    return parts, np.isnan(np.asarray(found, dtype=np.float64))


def _keys(log: pa.Table) -> pa.Table:
    """What tells the events apart, in types that can be compared; times to the millisecond."""
    import pyarrow as pa

    times = log["timestamp"].to_numpy(zero_copy_only=False).astype(np.float64)
    moment = np.where(np.isnan(times), -1, np.round(np.nan_to_num(times) * 1000)).astype(np.int64)
    words = {name: log[name].cast(pa.string()) for name in KEY[:3]}
    return pa.table({**words, "timestamp": moment})


def _items(reading: Reading, last: Run) -> pa.Table:
    """The catalogue, with the items that were added to the last run without training."""
    import pyarrow.parquet as pq

    assert reading.items is not None
    added = last.path("index") / "items.parquet"
    return _over(pq.read_table(added), reading.items, "item_id") if added.exists() else reading.items


def _over(earlier: pa.Table, later: pa.Table | None, key: str) -> pa.Table:
    """Rows of both; where both have one, the later."""
    import pyarrow.compute as pc

    if later is None:
        return earlier
    ids: Any = later[key].combine_chunks()
    known = pc.call_function("is_in", [earlier[key]], pc.SetLookupOptions(value_set=ids))
    later = later.drop_columns([name for name in ("file", "line") if name in later.column_names])
    return _joined([earlier.filter(pc.call_function("invert", [known])), later])


def _joined(tables: list[pa.Table]) -> pa.Table:
    """Tables below each other with all their columns."""
    import pyarrow as pa

    try:
        return pa.concat_tables(tables, promote_options="permissive")
    except pa.ArrowTypeError as error:
        raise DataError(f"the new rows do not go with those of the run: {error}") from error
