"""Table files (delimited text, JSON lines, Parquet, plain or gzipped) as columns, with the line of every row."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from genre.component import suggest
from genre.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa

SEPARATOR = "\x1f"
"""Stands in for a delimiter of several characters, which the parser does not know."""

BOM = b"\xef\xbb\xbf"


@dataclass
class Sheet:
    """A table file: its columns under their own names, and ``file`` and ``line``."""

    table: pa.Table
    rejected: list[dict[str, object]] = field(default_factory=list)
    """Rows that do not have the right number of columns, or are no JSON."""


def locate(path: Path) -> Path:
    """``path`` as it is, or under ``GENRE_DATA``, or under ``../shared/data``. Raises `DataError` where none is there."""
    roots = [Path(), Path(os.environ["GENRE_DATA"])] if os.environ.get("GENRE_DATA") else [Path()]
    tried = [root / path for root in [*roots, Path("../shared/data")]]
    for one in tried:
        if one.exists():
            return one
    where = ", ".join(str(one) for one in dict.fromkeys(tried))
    raise DataError(f"{path}: not found; looked for {where}; correct the path, or set GENRE_DATA to the data folder")


def read_sheet(path: Path, delimiter: str = "", encoding: str = "utf-8") -> Sheet:
    """Read a file by its name: ``.parquet``, ``.jsonl`` or ``.ndjson``, else delimited text with a header.

    Without a ``delimiter``, columns of ``.tsv`` stand apart by tabs, of other files by commas.
    """
    name = path.name.removesuffix(".gz")
    if name.endswith(".parquet"):
        return _parquet(path)
    if name.endswith((".jsonl", ".ndjson", ".json")):
        return _json_lines(path, encoding)
    return read_delimited(path, delimiter or ("\t" if name.endswith(".tsv") else ","), encoding)


def read_delimited(
    path: Path, delimiter: str, encoding: str = "utf-8", names: list[str] | None = None, quoted: bool = True
) -> Sheet:
    """Read delimited text, every column as text, empty cells as null.

    ``names`` are the columns of a file without a header; ``quoted`` says whether cells may stand in double quotes.
    """
    import pyarrow as pa
    from pyarrow import csv as arrow_csv

    data = _text(path, encoding)
    if len(delimiter) > 1:
        data, delimiter = data.replace(delimiter.encode(), SEPARATOR.encode()), SEPARATOR
    header = names or _header(path, data, delimiter, quoted)
    ragged: list[Any] = []

    def refuse(row: Any) -> str:
        ragged.append(row)
        return "skip"

    try:
        table = arrow_csv.read_csv(
            io.BytesIO(data),
            arrow_csv.ReadOptions(use_threads=False, column_names=names, block_size=max(1, min(len(data), 1 << 28))),
            arrow_csv.ParseOptions(
                delimiter=delimiter,
                quote_char='"' if quoted else False,
                newlines_in_values=quoted and b'"' in data,
                invalid_row_handler=refuse,
            ),
            arrow_csv.ConvertOptions(
                column_types={name: pa.string() for name in header}, strings_can_be_null=True, null_values=[""]
            ),
        )
    except pa.ArrowInvalid as error:
        raise DataError(f"{path}: cannot be read as delimited text ({error})") from error
    first = 0 if names else 1
    lines = _lines(data, delimiter if quoted else None, first, table.num_rows + len(ragged))
    numbers = np.array([row.number - 1 - first for row in ragged], dtype=np.int64)
    rejected = [
        _refusal(path, lines[at], f"{row.actual_columns} columns instead of {row.expected_columns}", row.text)
        for at, row in zip(numbers, ragged, strict=True)
    ]
    return Sheet(_placed(table, path, np.delete(lines, numbers)), rejected)


def column(sheet: Sheet, path: Path, name: str, where: str) -> pa.ChunkedArray:
    """A column of a sheet. Raises `DataError` that names ``where`` in the configuration to put it right."""
    names = [one for one in sheet.table.column_names if one not in ("file", "line")]
    if name not in names:
        raise DataError(f"{path}: no column '{name}'; {suggest(name, names)}; name it in {where}")
    return sheet.table[name]


def _header(path: Path, data: bytes, delimiter: str, quoted: bool) -> list[str]:
    text = io.TextIOWrapper(io.BytesIO(data), encoding="utf-8", newline="")
    quoting = csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE
    header = next((row for row in csv.reader(text, delimiter=delimiter, quoting=quoting) if row), [])
    twice = sorted({name for name in header if header.count(name) > 1})
    if twice:
        raise DataError(f"{path}:1: column '{twice[0]}' is there twice; rename one of them")
    return header


def _lines(data: bytes, delimiter: str | None, first: int, n: int) -> np.ndarray[Any, Any]:
    """Line on which each of ``n`` rows begins; ``first`` lines are a header."""
    physical = data.count(b"\n") + (not data.endswith(b"\n"))
    if physical == n + first or delimiter is None:
        return np.arange(n) + first + 1
    reader = csv.reader(io.TextIOWrapper(io.BytesIO(data), encoding="utf-8", newline=""), delimiter=delimiter)
    starts, before = [], 0
    for row in reader:
        if row:
            starts.append(before + 1)
        before = reader.line_num
    return np.array(starts[first:]) if len(starts) == n + first else np.arange(n) + first + 1


def _json_lines(path: Path, encoding: str) -> Sheet:
    import pyarrow as pa

    rows: list[dict[str, Any]] = []
    lines: list[int] = []
    rejected: list[dict[str, object]] = []
    for number, line in enumerate(_text(path, encoding).splitlines(), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            rejected.append(_refusal(path, number, f"not JSON ({error})", line.decode()))
            continue
        if not isinstance(row, dict):
            rejected.append(_refusal(path, number, "not a JSON object", line.decode()))
            continue
        rows.append(row)
        lines.append(number)
    names = list(dict.fromkeys(name for row in rows for name in row))
    columns = {name: _json_column([row.get(name) for row in rows]) for name in names}
    return Sheet(_placed(pa.table(columns), path, np.array(lines, dtype=np.int64)), rejected)


def _json_column(values: list[Any]) -> pa.Array:
    import pyarrow as pa

    if any(isinstance(value, list) for value in values):
        lists = [value if isinstance(value, list) or value is None else [value] for value in values]
        words = [None if one is None else [str(word) for word in one if word is not None] for one in lists]
        return pa.array(words, pa.list_(pa.string()))
    return pa.array([_json_text(value) for value in values], pa.string())


def _json_text(value: Any) -> str | None:
    if value is None or value == "":
        return None
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _parquet(path: Path) -> Sheet:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(f"{path}: truncated, damaged, or not Parquet ({error})") from error
    return Sheet(_placed(table, path, np.arange(1, table.num_rows + 1)))


def _placed(table: pa.Table, path: Path, lines: np.ndarray[Any, Any]) -> pa.Table:
    import pyarrow as pa

    table = table.drop_columns([name for name in ("file", "line") if name in table.column_names])
    if not table.num_columns:
        return pa.table({"file": pa.array([], pa.string()), "line": pa.array([], pa.int64())})
    table = table.append_column("file", pa.repeat(pa.scalar(path.name), table.num_rows))
    return table.append_column("line", pa.array(lines, pa.int64()))


def _refusal(path: Path, line: int, reason: str, row: str) -> dict[str, object]:
    return {"file": path.name, "line": int(line), "reason": reason, "row": row.replace(SEPARATOR, "::")}


def _text(path: Path, encoding: str) -> bytes:
    """The file's text as UTF-8. Raises `DataError` where it is empty, truncated, or in another encoding."""
    try:
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except FileNotFoundError:
        raise DataError(f"{path}: not found") from None
    except EOFError as error:
        raise DataError(f"{path}: truncated, its gzip stream ends too early; copy or download it again") from error
    except (gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"{path}: damaged, or not gzip ({error})") from error
    data = data.removeprefix(BOM)
    if not data.strip():
        raise DataError(f"{path}: empty")
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"{path}:{line}: not {encoding.upper()} (byte 0x{data[error.start]:02x} at position {error.start}); "
            "save the file as UTF-8 or name its encoding"
        ) from error
    except LookupError:
        raise DataError(f"{path}: no encoding '{encoding}'; for example utf-8, latin-1, gb18030") from None
    return data if encoding.lower() in ("utf-8", "utf8") else text.encode()
