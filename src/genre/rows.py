"""Reading rows of text files with the line each stands in, and turning words into numbers."""

from __future__ import annotations

import csv
import gzip
import json
import os
import sys
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from genre.component import suggest
from genre.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa

Rejected = list[dict[str, object]]
FORMATS = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet")
MOST_ONCE = 1 << 19
"""Words of a column that are remembered, to be kept in memory once."""
LEADING_ZERO = r"^\s*[-+]?0\d"
"""Post codes and the like: digits that are a word."""
NUMBER = r"^\s*[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?\s*$"


def data_folder() -> Path:
    """Where data sets that may not be passed on are kept: ``GENRE_DATA``, else ``../shared/data``."""
    return Path(os.environ.get("GENRE_DATA") or "../shared/data")


@contextmanager
def opened(path: Path, encoding: str) -> Iterator[IO[str]]:
    """Open a text file, gzipped if its name says so. Raises `DataError` where it is missing, cut short, mis-encoded."""
    if not path.exists():
        raise DataError(f"{path}: no such file")
    name, encoding = encoding, "utf-8-sig" if encoding.lower() in ("utf-8", "utf8") else encoding
    try:
        with (
            gzip.open(path, "rt", encoding=encoding, newline="")
            if path.suffix == ".gz"
            else path.open(encoding=encoding, newline="") as file
        ):
            yield file
    except UnicodeDecodeError as error:
        line = _line_of_bad_byte(path, encoding)
        what = f"byte {error.object[error.start]:#04x} is not {name.upper()}"
        raise DataError(f"{path}:{line}: {what}; save the file as UTF-8 or set the reader's encoding") from error
    except LookupError:
        raise DataError(f"{path}: no encoding is called '{name}'; for example utf-8, latin-1, gb18030") from None
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{path}: the compressed file is cut short or damaged ({error}); fetch it again") from error


def _line_of_bad_byte(path: Path, encoding: str) -> int:
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
        for number, line in enumerate(file, 1):
            try:
                line.decode(encoding)
            except UnicodeDecodeError:
                return number
    return 0


def delimited(
    path: Path, delimiter: str, header: list[str] | None, rejected: Rejected, encoding: str = "utf-8"
) -> dict[str, list[Any]]:
    """Columns of a delimited file, by the names in ``header`` or its first line, and ``file`` and ``line``.

    A row with another number of fields goes to ``rejected``. ``delimiter`` may have several characters (``::``).
    """
    with opened(path, encoding) as file:
        lines = _split(path, file, delimiter)
        names = header
        if names is None:
            first = next(lines, None)
            if first is None:
                raise DataError(f"{path}: the file is empty")
            names = [name.strip() for name in first[1]]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise DataError(f"{path}: column '{twice[0]}' is there twice; rename one of the two")
        columns: dict[str, list[Any]] = {name: [] for name in [*names, "line"]}
        once: dict[str, dict[str, str]] = {name: {} for name in names}
        for line, row in lines:
            if len(row) != len(names):
                reason = f"has {len(row)} fields where {len(names)} are expected"
                rejected.append({"file": str(path), "line": line, "reason": reason, "row": delimiter.join(row)})
                continue
            for name, word in zip(names, row, strict=True):
                # Ids and actions come again and again, and are kept once.
                known = once[name]
                columns[name].append(known.setdefault(word, word) if len(known) < MOST_ONCE else word)
            columns["line"].append(line)
    columns["file"] = [str(path)] * len(columns["line"])
    return columns


def _split(path: Path, file: IO[str], delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """The rows, each with the line where it begins."""
    if len(delimiter) == 1:
        quoting = csv.QUOTE_MINIMAL if delimiter == "," else csv.QUOTE_NONE
        csv.field_size_limit(min(sys.maxsize, 2**31 - 1))
        # Strict, so that a quote that is never closed is an error instead of one cell that swallows the file's rest.
        reader = csv.reader(file, delimiter=delimiter, quoting=quoting, strict=True)
        begins = 1
        try:
            for row in reader:
                if row:
                    yield begins, row
                begins = reader.line_num + 1
        except csv.Error as error:
            why = f"{error}; a quote inside a quoted cell is written twice"
            raise DataError(f"{path}:{begins}: the row that begins here is not CSV ({why})") from error
    else:
        for number, line in enumerate(file, 1):
            if line.strip():
                yield number, line.rstrip("\r\n").split(delimiter)


def json_lines(path: Path, rejected: Rejected, encoding: str = "utf-8") -> dict[str, list[Any]]:
    """Columns of a JSON lines file and ``file`` and ``line``; a line that is no JSON object goes to ``rejected``."""
    found: list[tuple[int, dict[str, Any]]] = []
    with opened(path, encoding) as file:
        for number, line in enumerate(file, 1):
            try:
                value = json.loads(line) if line.strip() else None
            except ValueError as error:
                rejected.append(
                    {"file": str(path), "line": number, "reason": f"not JSON: {error}", "row": line.rstrip()}
                )
                continue
            if isinstance(value, dict):
                found.append((number, value))
            elif value is not None:
                rejected.append(
                    {"file": str(path), "line": number, "reason": "not a JSON object", "row": line.rstrip()}
                )
    names = dict.fromkeys(name for _, row in found for name in row)
    columns: dict[str, list[Any]] = {name: [row.get(name) for _, row in found] for name in names}
    return {**columns, "line": [number for number, _ in found], "file": [str(path)] * len(found)}


def parquet(path: Path) -> dict[str, list[Any]]:
    """Columns of a Parquet file, and ``file`` and ``line``, which is the number of the row."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not path.exists():
        raise DataError(f"{path}: no such file")
    try:
        table = pq.read_table(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(f"{path}: not a whole Parquet file ({error}); fetch or write it again") from error
    columns: dict[str, list[Any]] = {name: table[name].to_pylist() for name in table.column_names}
    return {**columns, "line": list(range(1, table.num_rows + 1)), "file": [str(path)] * table.num_rows}


def check_files(paths: Iterable[Path]) -> list[Path]:
    """The same paths. Raises `DataError` where one is missing or of a format that `columns_of` cannot read."""
    paths = list(paths)
    for path in paths:
        if not path.exists():
            raise DataError(f"{path}: no such file; paths are relative to the working directory")
        if not any(s in FORMATS for s in path.suffixes):
            raise DataError(f"{path}: unknown format; name it {', '.join(FORMATS)}, text also with .gz")
    return paths


def columns_of(path: Path, rejected: Rejected, encoding: str = "utf-8") -> dict[str, list[Any]]:
    """Columns of a file with a row a record, in the format that its name says, and ``file`` and ``line``."""
    if ".parquet" in path.suffixes:
        return parquet(path)
    if ".jsonl" in path.suffixes or ".ndjson" in path.suffixes:
        return json_lines(path, rejected, encoding)
    return delimited(path, "\t" if ".tsv" in path.suffixes else ",", None, rejected, encoding)


def renamed(
    columns: dict[str, list[Any]], mapping: dict[str, str], wanted: list[str], path: Path, setting: str
) -> dict[str, list[Any]]:
    """Columns by our names, ``mapping`` being ours: theirs. Raises `DataError` where one of ours is missing.

    A column that has one of our names and is not the one meant by it is left out.
    """
    need(columns, mapping.values(), path, f"check data.reader.{setting}")
    theirs = {their: our for our, their in mapping.items()}
    named = {theirs.get(n, n): column for n, column in columns.items() if n in theirs or n not in mapping}
    for name in wanted:
        need(named, [name], path, f"name it in data.reader.{setting}, as in {setting}: {{{name}: <its name there>}}")
    return named


def arrow(columns: dict[str, list[Any]]) -> pa.Table:
    """An Arrow table; a column whose values are of several types becomes words, so that one odd row spoils no other."""
    import pyarrow as pa

    made: dict[str, Any] = {}
    for name, column in columns.items():
        try:
            made[name] = pa.array(column)
        except (pa.ArrowInvalid, pa.ArrowTypeError):
            made[name] = pa.array([None if value is None else str(value) for value in column])
    return pa.table(made)


def need(columns: Iterable[str], wanted: Iterable[str], path: object, how: str) -> None:
    """Raise `DataError` that names each wanted column that is missing, the nearest that is there, and the mend."""
    known = [c for c in columns if c not in ("file", "line")]
    missing = [f"'{name}' ({suggest(name, known)})" for name in wanted if name not in known]
    if missing:
        raise DataError(f"{path}: no column {', '.join(missing)}; {how}")


def numbers(column: pa.ChunkedArray) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """A column as numbers, NaN where missing, and where it holds something that is not a finite number."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_null(column.type):
        return np.full(len(column), np.nan), np.zeros(len(column), dtype=bool)
    if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
        values = column.cast(pa.float64()).to_numpy(zero_copy_only=False)
        there = column.is_valid().to_numpy(zero_copy_only=False)
        return values, there & ~np.isfinite(values)
    words = pc.utf8_trim_whitespace(column)  # pyright: ignore[reportAttributeAccessIssue]
    there = pc.fill_null(pc.not_equal(words, ""), False)  # pyright: ignore[reportAttributeAccessIssue]
    good = pc.fill_null(pc.match_substring_regex(words, NUMBER), False)  # pyright: ignore[reportAttributeAccessIssue]
    cast = pc.if_else(good, words, None).cast(pa.float64())  # pyright: ignore[reportAttributeAccessIssue]
    values = cast.to_numpy(zero_copy_only=False)
    bad = (pc.and_(there, pc.invert(good))).to_numpy(zero_copy_only=False)  # pyright: ignore[reportAttributeAccessIssue]
    return values, bad | np.isinf(values)


def typed(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Words that are all numbers as numbers (whole ones as integers), else as words; empty ones as missing.

    Digits with a leading zero are words.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
        return column
    values, bad = numbers(column)
    bad |= pc.fill_null(pc.match_substring_regex(column, LEADING_ZERO), False).to_numpy(zero_copy_only=False)  # pyright: ignore[reportAttributeAccessIssue]
    known = values[~np.isnan(values)]
    if bad.any() or not len(known):
        return pc.if_else(pc.equal(column, ""), None, column)  # pyright: ignore[reportAttributeAccessIssue]
    made = pa.chunked_array([pa.array(values, from_pandas=True)])
    return made.cast(pa.int64()) if (known == np.round(known)).all() and np.abs(known).max() < 2**53 else made


def stacked(tables: Iterable[pa.Table]) -> pa.Table:
    """Tables below each other with all their columns; a column whose types do not go together holds words."""
    import pyarrow as pa

    known = list(tables)
    for name in dict.fromkeys(name for table in known for name in table.column_names):
        types = [table.schema.field(name).type for table in known if name in table.column_names]
        try:
            pa.unify_schemas([pa.schema([(name, one)]) for one in types], promote_options="permissive")
        except pa.ArrowTypeError:
            known = [_in_words(table, name) for table in known]
    return pa.concat_tables(known, promote_options="permissive")


def _in_words(table: pa.Table, name: str) -> pa.Table:
    import pyarrow as pa

    if name not in table.column_names:
        return table
    words = [None if value is None else str(value) for value in table[name].to_pylist()]
    return table.set_column(table.column_names.index(name), name, [pa.array(words, pa.string())])
