"""``genre data show``: what a prepared dataset holds, how it is distributed, and what is wrong with it."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from genre.data import Dataset, Log

if TYPE_CHECKING:
    import pyarrow as pa

QUANTILES = {"least": 0.0, "10 %": 0.1, "median": 0.5, "90 %": 0.9, "most": 1.0}
BAR = 30
"""Length of the longest bar, in characters."""
CELL = 40
"""Longest text shown in a cell, in characters."""


def show(data: Dataset, console: Console | None = None, rows: int = 3) -> None:
    """Print counts, distributions, ``rows`` rows of each table, rejected rows and problems."""
    out = console or Console()
    manifest, log = data.manifest, Log.of(data)
    out.print(f"[bold]{escape(manifest['name'])}[/]   {escape(manifest['source'])}")
    out.print(f"licence: {escape(manifest['licence'] or 'not stated')}\n")
    _counts(out, manifest["counts"])
    _split(out, manifest["split"])
    _spreads(out, log)
    _values(out, log)
    _times(out, log)
    for name in ("interactions", "items", "users"):
        _rows(out, name, getattr(data, name), rows)
    _rejected(out, data, rows)
    _problems(out, manifest["problems"])


def _counts(out: Console, counts: dict[str, Any]) -> None:
    sizes = ", ".join(f"{counts[name]:,} {name}" for name in ("users", "items", "interactions"))
    out.print(f"{sizes}; {counts['rejected']:,} rows rejected")
    for sort in ("parts", "actions"):
        out.print(f"{sort}: " + ", ".join(f"{escape(str(name))} {n:,}" for name, n in counts[sort].items()))


def _split(out: Console, split: dict[str, Any]) -> None:
    settings = ", ".join(f"{name} {value}" for name, value in split.items() if name not in ("type", "facts"))
    out.print(f"split: [bold]{escape(split['type'])}[/] ({escape(settings)})")
    for name, value in split["facts"].items():
        out.print(f"  {escape(name.replace('_', ' '))}: {escape(str(value))}")


def _spreads(out: Console, log: Log) -> None:
    events = log.where(log.positive)
    table = Table(*("", *QUANTILES), title="events", title_justify="left")
    for name, column, n in (("a user", events.user, log.n_users), ("an item", events.item, log.n_items)):
        counts = np.bincount(column, minlength=n)
        cells = [f"{np.quantile(counts, q, method='nearest'):,}" for q in QUANTILES.values()]
        table.add_row(name, *cells)
    out.print()
    out.print(table)
    unseen = int((np.bincount(events.item, minlength=log.n_items) == 0).sum())
    if unseen:
        out.print(f"{unseen:,} items of the catalogue have no event")


def _values(out: Console, log: Log) -> None:
    known = log.value[~np.isnan(log.value)]
    if not len(known):
        return
    table = Table("value", "rows", "", title="values", title_justify="left", show_edge=False)
    labels, counts = _histogram(known)
    for label, count in zip(labels, counts, strict=True):
        table.add_row(label, f"{count:,}", "█" * round(BAR * int(count) / int(counts.max())))
    out.print(table)


def _histogram(values: NDArray[Any], most: int = 10) -> tuple[list[str], NDArray[np.int64]]:
    """Counts of each value, or of ranges where there are more than ``most`` values."""
    distinct, counts = np.unique(values, return_counts=True)
    if len(distinct) <= most:
        return [f"{value:g}" for value in distinct], counts
    counts, edges = np.histogram(values, most)
    return [f"{a:.4g} to {b:.4g}" for a, b in pairwise(edges)], counts


def _times(out: Console, log: Log) -> None:
    known = log.time[~np.isnan(log.time)]
    if not len(known):
        out.print("times: none; the order of the source is all that is known")
        return
    first, last = (datetime.fromtimestamp(float(t), UTC).strftime("%Y-%m-%d %H:%M") for t in (known.min(), known.max()))
    same = (np.diff(log.user) == 0) & (np.diff(log.time) == 0)
    near = np.append(same, False) | np.insert(same, 0, False)
    days = (known.max() - known.min()) / 86400
    out.print(f"times: {first} to {last} UTC, {days:,.0f} days")
    out.print(f"ties: {near.mean():.1%} of the rows have the same time as another of their user")


def _rows(out: Console, name: str, table: pa.Table, n: int) -> None:
    used = [column for column in table.column_names if table[column].null_count < table.num_rows]
    shown = Table(*used, title=f"{name}, the first of {table.num_rows:,}", title_justify="left")
    for row in table.select(used).slice(0, n).to_pylist():
        shown.add_row(*(_cell(row[column]) for column in used))
    out.print()
    out.print(shown)


def _cell(value: Any) -> str:
    text = ", ".join(map(str, value)) if isinstance(value, list) else "" if value is None else str(value)
    return escape(text if len(text) <= CELL else text[: CELL - 1] + "…")


def _rejected(out: Console, data: Dataset, n: int) -> None:
    if not data.rejected.num_rows:
        return
    out.print("\n[bold]rejected[/]")
    for reason, count in data.manifest["rejected"].items():
        out.print(f"  {count:,} x {escape(reason)}")
    for row in data.rejected.slice(0, n).to_pylist():
        out.print(f"  {escape(row['file'])}:{row['line']}: {escape(row['reason'])}")


def _problems(out: Console, problems: list[str]) -> None:
    out.print("\n[bold]problems[/]" if problems else "\nno problems found")
    for problem in problems:
        out.print(f"  {escape(problem)}")
