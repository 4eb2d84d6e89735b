"""Items that come after training: a file of them, checked against the catalogue that they are to join."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genre.component import suggest
from genre.errors import DataError
from genre.rows import Rejected, check_files, columns_of, need
from genre.text import columns_of as columns_in
from genre.text import words_of

if TYPE_CHECKING:
    import pyarrow as pa

Row = dict[str, Any]


@dataclass(frozen=True)
class NewItems:
    """The usable rows of a file."""

    table: pa.Table
    """With the columns and types of the catalogue; what the file does not name is missing."""
    lines: list[int]
    """Where each row stands in the file."""
    named: list[str]
    """The columns that the file has."""
    rejected: Rejected


def read_items(file: Path, catalogue: pa.Table, template: str, separator: str = "|") -> NewItems:
    """The items of a CSV, JSON lines or Parquet file. Raises `DataError` on wrong columns, or if no row is usable.

    Needed are ``item_id`` and the columns of ``template``; further ones must be the catalogue's. A row without an id,
    with one that came before, without any text, or with a value of another type than the catalogue's is rejected.
    Words of a list are divided by ``separator``.
    """
    check_files([file])
    rejected: Rejected = []
    columns = columns_of(file, rejected)
    lines = [int(line) for line in columns.pop("line")]
    columns.pop("file")
    texts = list(dict.fromkeys(columns_in(template)))
    need(columns, ["item_id", *texts], file, "the catalogue's columns are " + ", ".join(catalogue.column_names))
    for name in columns:
        if name not in catalogue.column_names:
            hint = suggest(name, catalogue.column_names)
            raise DataError(f"{file}: the catalogue has no column '{name}'; {hint}, or take the column out")
    rows = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    good, kept = [], []
    seen: set[str] = set()
    for line, row in zip(lines, rows, strict=True):
        made, reason = _checked(row, catalogue.schema, texts, separator, seen)
        if reason:
            words = ", ".join(f"{name}={value}" for name, value in row.items())
            rejected.append({"file": str(file), "line": line, "reason": reason, "row": words})
        else:
            good.append(made)
            kept.append(line)
    if not good:
        first = f": {rejected[0]['file']}:{rejected[0]['line']}: {rejected[0]['reason']}" if rejected else ""
        raise DataError(f"{file}: no row can be used, of {len(rejected)}{first}")
    return NewItems(_table(good, catalogue.schema), kept, list(columns), rejected)


def _checked(row: Row, schema: pa.Schema, texts: list[str], separator: str, seen: set[str]) -> tuple[Row, str]:
    """The row in the catalogue's types, and why it cannot be used, if so."""
    made: Row = {}
    for name, value in row.items():
        try:
            made[name] = _typed(value, schema.field(name).type, separator)
        except (ValueError, TypeError, OverflowError, NotImplementedError):
            return {}, f"{name} is no {schema.field(name).type} ({value!r})"
    item = made["item_id"]
    if item is None:
        return {}, "no item_id"
    if item in seen:
        return {}, f"item_id is there twice ({item!r})"
    if not any(_words(made, name) for name in texts):
        return {}, f"no text: nothing in {', '.join(texts)}"
    seen.add(item)
    return made, ""


def _words(row: Row, name: str) -> str:
    import pyarrow as pa

    return words_of(pa.table({name: [row[name]]}), name)[0]


def _typed(value: Any, kind: pa.DataType, separator: str) -> Any:
    """A value in a column's type; blanks around words go, and nothing but blanks is missing."""
    import pyarrow as pa

    value = value.strip() if isinstance(value, str) else value
    if value is None or value == "":
        return None
    if pa.types.is_list(kind):
        words = value.split(separator) if isinstance(value, str) else list(value)
        return [word.strip() if isinstance(word, str) else word for word in words if word not in (None, "")]
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return str(value)
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        value = float(value) if isinstance(value, str) else value
        if not math.isfinite(value):
            raise ValueError("not a finite number")
    return pa.scalar(value).cast(kind).as_py()


def _table(rows: list[Row], schema: pa.Schema) -> pa.Table:
    import pyarrow as pa

    return pa.Table.from_pylist([{name: row.get(name) for name in schema.names} for row in rows], schema=schema)


def differences(row: Row, other: Row, names: list[str]) -> Iterator[str]:
    """The columns in which two rows say something else; nothing, an empty word and an empty list are the same."""
    for name in names:
        one, two = (None if side.get(name) in ("", []) else side.get(name) for side in (row, other))
        if one != two:
            yield name
