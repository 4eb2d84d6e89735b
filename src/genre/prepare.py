"""Stage: from a reader's rows to a checked, split dataset. Nothing is dropped without a line in ``rejected``."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter

from genre.component import describe, suggest
from genre.config import Config, DataSection
from genre.data import FORMAT, PARTS, Dataset, Log
from genre.datasets import Reading
from genre.errors import DataError, RunError
from genre.files import sha256
from genre.logcolumns import counted, numbered
from genre.rows import numbers, typed
from genre.run import Run

if TYPE_CHECKING:
    import pyarrow as pa

MAIN = ("user_id", "item_id", "action", "value", "timestamp", "impression_id", "position", "propensity", "part")
NUMERIC = ("value", "position", "propensity")
ANY_ACTION = "interact"
"""The action of a log that names none."""
HISTORY_ONLY = "history only"
"""What the counts call the rows that belong to no part."""
ONE_ITEM = "there is one item; recommending needs at least two"
MILLISECONDS = 1e11
"""Times above this are milliseconds: as seconds they would lie in the year 5138."""


def prepare(config: Config, run: Run) -> Dataset:
    """Read, check and split the log; the result lies in the run's ``data/``. Raises `DataError`.

    A folder that was damaged since is made anew.
    """
    section = TypeAdapter(DataSection).dump_python(config.data, mode="json")
    files = {str(path): sha256(path) for path in config.data.reader.files()}
    inputs = {"data": section, "seed": seed_of(config), "files": files, "format": FORMAT}
    if not run.do("data", inputs, lambda folder: _prepare(config, folder)):
        try:
            return Dataset.load(run.path("data"))
        except RunError as error:
            print(f"{error}: made anew")
            shutil.rmtree(run.path("data"))
            run.do("data", inputs, lambda folder: _prepare(config, folder))
    return Dataset.load(run.path("data"))


def seed_of(config: Config) -> int:
    """The seed of what is drawn while preparing: that of the data, else that of the run."""
    return config.seed if config.data.seed is None else config.data.seed


def _prepare(config: Config, folder: Path) -> None:
    data = build(config.data.reader.read(), config.data, seed_of(config))
    if data.items.num_rows < 2 and config.model.formulation.reads != "rows":
        raise DataError(f"{data.manifest['name']}: {ONE_ITEM}")
    data.save(folder)
    counts = data.manifest["counts"]
    sizes = ", ".join(f"{counts[name]} {name}" for name in ("users", "items", "interactions"))
    print(f"{data.manifest['name']}: {sizes}")
    if counts["rejected"]:
        reasons = "; ".join(f"{n} {reason}" for reason, n in data.manifest["rejected"].items())
        print(f"rejected {counts['rejected']} rows ({reasons}); see {folder / 'rejected.parquet'}")
    for problem in data.manifest["problems"]:
        print(f"note: {problem}")


def build(reading: Reading, section: DataSection, seed: int) -> Dataset:
    """A dataset from what a reader found. Raises `DataError` when too much of it is unusable."""
    rejected = list(reading.rejected)
    tables = (reading.interactions, reading.items, reading.users)
    total = sum(table.num_rows for table in tables if table is not None) + len(rejected)
    items = _side_table(reading.items, "item_id", rejected)
    users = _side_table(reading.users, "user_id", rejected)
    log = _checked(reading.interactions, items, rejected)
    _stop_if_too_many(rejected, total, section.max_rejected)
    items = _with_missing(items, "item_id", log["item_id"])
    if "title" not in items.column_names:
        items = items.append_column("title", pa_table({"title": [""] * items.num_rows})["title"])
    titles = _words(items["title"]).fill_null("")
    items = items.set_column(items.column_names.index("title"), "title", titles)
    users = _with_missing(users, "user_id", log["user_id"])
    acting = len(log["user_id"].unique())
    if acting < 2:
        raise DataError(f"{reading.name}: {acting} user with usable interactions; recommending needs at least two")
    log = _sorted(log, users, section.ties, seed)
    empty = pa_table({name: [] for name in ("file", "reason", "row")} | {"line": []})
    draft = Dataset(log, items, users, _rejected_table(rejected) if rejected else empty, {})
    arrays = Log.of(draft)
    part, facts = section.split.assign(arrays, seed)
    words = np.array([*PARTS, None], dtype=object)[part]
    log = log.set_column(log.column_names.index("part"), "part", [words.tolist()])
    problems = _problems(arrays, part, items, facts) + _left_out(log, facts)
    log = _of_actions(log, section.actions, problems)
    manifest = {
        "name": reading.name,
        "source": reading.source,
        "licence": reading.licence,
        "counts": _counts(log, items, users, rejected),
        "split": {**describe(section.split), "ties": section.ties, "seed": seed, "facts": facts},
        "rejected": dict(_reasons(rejected).most_common()),
        "problems": problems,
    }
    return Dataset(log, items, users, draft.rejected, manifest)


def pa_table(columns: dict[str, Any]) -> pa.Table:
    """An Arrow table with words where nothing else is known."""
    import pyarrow as pa

    schema = {"line": pa.int64()}
    return pa.table({name: pa.array(column, type=schema.get(name, pa.string())) for name, column in columns.items()})


def _rejected_table(rejected: list[dict[str, object]]) -> pa.Table:
    columns = {name: [str(row.get(name, "")) for row in rejected] for name in ("file", "reason", "row")}
    return pa_table({**columns, "line": [int(str(row.get("line") or 0)) for row in rejected]})


def _stop_if_too_many(rejected: list[dict[str, object]], total: int, most: float) -> None:
    if total and len(rejected) / total > most:
        reasons = "; ".join(f"{n} x {reason}" for reason, n in _reasons(rejected).most_common(3))
        first = rejected[0]
        raise DataError(
            f"{len(rejected)} of {total} rows cannot be used, more than data.max_rejected ({most:.0%}): {reasons}. "
            f"The first is {first['file']}:{first['line']}: {first['reason']}"
        )


def _reasons(rejected: list[dict[str, object]]) -> Counter[str]:
    """How often each reason occurs, whatever the word that gave it."""
    return Counter(str(row["reason"]).split(" (")[0] for row in rejected)


def _checked(table: pa.Table, items: pa.Table | None, rejected: list[dict[str, object]]) -> pa.Table:
    """The usable rows, with all main columns in their types; the others go to ``rejected``, each with its reason."""
    import pyarrow as pa

    columns = {name: table[name] for name in table.column_names if name not in ("file", "line")}
    n = table.num_rows
    reasons = np.full(n, None, dtype=object)
    if "action" not in columns:
        columns["action"] = pa.chunked_array([pa.repeat(pa.scalar(ANY_ACTION), n)])
    for name in ("user_id", "item_id", "action"):
        if name not in columns:
            raise DataError(f"the interactions have no column '{name}'; they have: {', '.join(columns)}")
        columns[name] = _words(columns[name])
        _mark(reasons, _empty(columns[name]), f"no {name}")
    for name in NUMERIC:
        if name in columns:
            values, bad = numbers(columns[name])
            _mark(reasons, bad, f"{name} is not a finite number", columns[name])
            columns[name] = pa.chunked_array([pa.array(values, from_pandas=True)])
    if "timestamp" in columns:
        times, bad = seconds_of(columns["timestamp"])
        _mark(reasons, bad, "timestamp is neither seconds nor ISO 8601", columns["timestamp"])
        columns["timestamp"] = pa.chunked_array([pa.array(times, from_pandas=True)])
    if "part" in columns:
        columns["part"] = _words(columns["part"])
        known = pa.chunked_array([pa.array([*PARTS, None], pa.string())])
        _mark(reasons, ~_is_in(columns["part"], known), f"part is none of {', '.join(PARTS)}", columns["part"])
    _complete(columns, n)
    if items is not None:
        _mark(
            reasons, ~_is_in(columns["item_id"], items["item_id"]), "item is not in the items table", columns["item_id"]
        )
    _mark(reasons, _repeated(columns, reasons), "is an earlier row again (same user, item, action and time)")
    _reject(table, reasons, rejected)
    extra = {name: typed(column) for name, column in columns.items() if name not in MAIN}
    made = pa.table({**{name: columns[name] for name in MAIN}, **extra})
    return made.filter(pa.array(reasons == None))  # noqa: E711  # element-wise


def _mark(reasons: NDArray[Any], bad: NDArray[np.bool_], reason: str, column: pa.ChunkedArray | None = None) -> None:
    """Note a reason for the bad rows that have none yet, with the offending word where there is a column."""
    for row in np.flatnonzero(bad & (reasons == None)):  # noqa: E711  # element-wise
        reasons[row] = reason if column is None else f"{reason} ({column[int(row)].as_py()!r})"


def _reject(table: pa.Table, reasons: NDArray[Any], rejected: list[dict[str, object]]) -> None:
    bad = np.flatnonzero(reasons != None)  # noqa: E711  # element-wise
    for row, values in zip(bad, table.take(bad).to_pylist(), strict=True):
        file, line = values.pop("file", ""), values.pop("line", int(row) + 1)
        text = ", ".join(f"{name}={value}" for name, value in values.items())
        rejected.append({"file": file, "line": line, "reason": reasons[row], "row": text})


def _complete(columns: dict[str, Any], n: int) -> None:
    import pyarrow as pa

    kinds = {"value": pa.float64(), "timestamp": pa.float64(), "position": pa.float64(), "propensity": pa.float64()}
    for name in MAIN:
        if name not in columns:
            columns[name] = pa.chunked_array([pa.nulls(n, kinds.get(name, pa.string()))])
    for name in ("impression_id", "part"):
        columns[name] = _words(columns[name])


def _words(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """As trimmed words; empty ones are missing."""
    import pyarrow as pa
    import pyarrow.compute as pc

    text = pc.utf8_trim_whitespace(column.cast(pa.string()))  # pyright: ignore[reportAttributeAccessIssue]
    return pc.if_else(pc.equal(text, ""), None, text)  # pyright: ignore[reportAttributeAccessIssue]


def _empty(column: pa.ChunkedArray) -> NDArray[np.bool_]:
    return column.is_null().to_numpy(zero_copy_only=False)


def _is_in(column: pa.ChunkedArray, known: pa.ChunkedArray) -> NDArray[np.bool_]:
    import pyarrow.compute as pc

    return pc.is_in(column, value_set=known.combine_chunks()).to_numpy(zero_copy_only=False)  # pyright: ignore[reportAttributeAccessIssue]


def seconds_of(column: pa.ChunkedArray) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """UTC seconds; words are numbers or ISO 8601, milliseconds are recognised by their size."""
    from datetime import UTC, datetime

    import pyarrow as pa

    if pa.types.is_timestamp(column.type) or pa.types.is_date(column.type):
        column = column.cast(pa.timestamp("us")).cast(pa.int64())
        return numbers(column)[0] / 1e6, np.zeros(len(column), dtype=bool)
    values, bad = numbers(column)
    for row in np.flatnonzero(bad):
        try:
            moment = datetime.fromisoformat(str(column[int(row)].as_py()).strip())
        except ValueError:
            continue
        values[row] = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
        bad[row] = False
    return np.where(np.abs(values) > MILLISECONDS, values / 1000, values), bad


def _repeated(columns: dict[str, Any], reasons: NDArray[Any]) -> NDArray[np.bool_]:
    """Rows equal to an earlier usable one. Without times nothing tells a repetition from a second visit."""
    good = np.flatnonzero(reasons == None)  # noqa: E711  # element-wise
    times = columns["timestamp"].to_numpy(zero_copy_only=False)
    good = good[~np.isnan(times[good])]
    named = [numbered(columns[name])[good] for name in ("user_id", "item_id", "action", "impression_id")]
    # Sorted by all keys, and last by the place in the source: an earlier row stands just before its repetitions.
    keys = [*named, times[good]]
    order = np.lexsort(keys)
    same = np.ones(max(0, len(order) - 1), dtype=bool)
    for key in keys:
        same &= np.diff(key[order]) == 0
    repeated = np.zeros(len(reasons), dtype=bool)
    repeated[good[order[1:][same]]] = True
    return repeated


def _side_table(table: pa.Table | None, key: str, rejected: list[dict[str, object]]) -> pa.Table | None:
    """A table of items or users with one row a key, the first; the others go to ``rejected``."""
    import pyarrow as pa

    if table is None:
        return None
    if key not in table.column_names:
        raise DataError(f"the table of {key.partition('_')[0]}s has no column '{key}'; {', '.join(table.column_names)}")
    ids = _words(table[key])
    reasons = np.full(table.num_rows, None, dtype=object)
    _mark(reasons, _empty(ids), f"no {key}")
    first = pa.table({key: ids, "row": np.arange(table.num_rows)}).group_by(key).aggregate([("row", "min")])
    again = np.ones(table.num_rows, dtype=bool)
    again[first["row_min"].to_numpy()] = False
    _mark(reasons, again, f"{key} is there twice", ids)
    _reject(table, reasons, rejected)
    columns = dict(zip(table.column_names, table.columns, strict=True)) | {key: ids}
    kept = {n: c if n in (key, "title") else typed(c) for n, c in columns.items() if n not in ("file", "line")}
    return pa.table(kept).filter(pa.array(reasons == None))  # noqa: E711  # element-wise


def _with_missing(table: pa.Table | None, key: str, used: pa.ChunkedArray) -> pa.Table:
    """The table with a row for every id in use."""
    import pyarrow as pa
    import pyarrow.compute as pc

    ids = pc.unique(used)  # pyright: ignore[reportAttributeAccessIssue]
    if table is None:
        return pa.table({key: ids})
    new = ids.filter(pa.array(~_is_in(pa.chunked_array([ids]), table[key])))
    return pa.concat_tables([table, pa.table({key: new})], promote_options="default")


def _sorted(log: pa.Table, users: pa.Table, ties: str, seed: int) -> pa.Table:
    import pyarrow.compute as pc

    user = pc.index_in(log["user_id"], value_set=users["user_id"].combine_chunks())  # pyright: ignore[reportAttributeAccessIssue]
    time = np.nan_to_num(log["timestamp"].to_numpy(zero_copy_only=False), nan=-np.inf)
    order = np.arange(log.num_rows) if ties == "file" else np.random.default_rng([seed, 0]).permutation(log.num_rows)
    return log.take(np.lexsort((order, time, user.to_numpy(zero_copy_only=False))))


def _counts(log: pa.Table, items: pa.Table, users: pa.Table, rejected: list[dict[str, object]]) -> dict[str, Any]:
    parts = Counter({word or HISTORY_ONLY: n for word, n in counted(log["part"]).items()})
    actions = counted(log["action"])
    return {
        "users": users.num_rows,
        "items": items.num_rows,
        "interactions": log.num_rows,
        "rejected": len(rejected),
        "parts": {name: parts[name] for name in (*PARTS, HISTORY_ONLY) if name in parts},
        "actions": dict(actions.most_common()),
    }


def _problems(log: Log, part: NDArray[np.int8], items: pa.Table, facts: dict[str, Any]) -> list[str]:
    """Leaks that make a number worthless stop the stage; what only needs to be known becomes a note."""
    notes: list[str] = []
    empty = sum(not title for title in items["title"].to_pylist())
    if empty:
        notes.append(f"{empty} of {items.num_rows} items have an empty title")
    pairs = log.user.astype(np.int64) * log.n_items + log.item
    by_part = [pairs[(part == p) & log.positive] for p in range(len(PARTS))]
    if len(by_part[1]) and np.array_equal(np.sort(by_part[1]), np.sort(by_part[2])):
        why = ONE_ITEM if log.n_items == 1 else "check the split"
        raise DataError(f"validation and test hold the same interactions; {why}")
    again = int(np.isin(by_part[2], by_part[0]).sum())
    if again:
        notes.append(
            f"{again} test events are with items that the user had in training; they cannot be found among the unseen"
        )
    late = _future_rows(log, part)
    if late and facts.get("ordered"):
        raise DataError(f"{late} events come after one of a later part of the same user; the split leaks the future")
    if late:
        notes.append(f"{late} events come after one of a later part of the same user: this split does not follow time")
    for name, events in zip(PARTS, by_part, strict=True):
        if not len(events):
            short = facts.get("users_too_short")
            why = f", as {short} users have fewer than it takes to judge them" if short else ""
            raise DataError(f"the split leaves no {name} events{why}; give it more, or use another split")
    known = log.value[~np.isnan(log.value)]
    if len(known) and known.min() == known.max():
        notes.append(f"value is {known[0]:g} in every row; it tells nothing")
    return notes


def _future_rows(log: Log, part: NDArray[np.int8]) -> int:
    """Events of a part that come after an event of a later part of their user: histories would hold the future."""
    place, late = np.arange(len(log)), np.zeros(len(log), dtype=bool)
    for later in (1, 2):
        first = np.full(log.n_users, len(log))
        asked = (part == later) & log.positive
        np.minimum.at(first, log.user[asked], place[asked])
        late |= (part >= 0) & (part < later) & (place > first[log.user])
    return int((late & log.positive).sum())


def _of_actions(log: pa.Table, actions: list[str], problems: list[str]) -> pa.Table:
    """The log without events that shall not teach; those of the test stay. What is left out is added to the notes."""
    if not actions:
        return log
    import pyarrow as pa

    have = sorted(counted(log["action"]))
    if unknown := [name for name in actions if name not in have]:
        raise DataError(f"data.actions: no event is a '{unknown[0]}'; {suggest(unknown[0], have)}")
    asked = _is_in(log["action"], pa.chunked_array([pa.array(actions, pa.string())]))
    kept = asked | _is_in(log["part"], pa.chunked_array([["test"]]))
    counts = counted(log["action"].filter(pa.array(~kept)))
    if counts:
        told = ", ".join(f"{n} x {action}" for action, n in counts.most_common())
        problems.append(f"{sum(counts.values())} events before the test are not of data.actions and left out: {told}")
    return log.filter(pa.array(kept))


def _left_out(log: pa.Table, facts: dict[str, Any]) -> list[str]:
    """Notes on rows of which something is not known, and on users who are not judged."""
    notes: list[str] = []
    untimed = log["timestamp"].null_count
    if 0 < untimed < log.num_rows:
        notes.append(f"{untimed} of {log.num_rows} interactions have no timestamp; they count as their users' first")
    elif untimed and facts.get("ordered"):
        notes.append("no interaction has a timestamp; a user's events count as in order of time as data.ties has them")
    if short := facts.get("users_too_short"):
        notes.append(f"{short} users have too few events to be judged; theirs all train")
    return notes
