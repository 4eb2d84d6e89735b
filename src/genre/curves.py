"""Learning curves: a Parquet table, the terminal, and what else follows the training."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from genre.files import replacing
from genre.parallel import team
from genre.trackers import Session

Watch = Callable[[int, dict[str, Any]], None]
"""Hears the number and the row of each epoch that is done; what it raises ends the training."""
PRINTED = ("loss/", "valid/")


class Curves:
    """Writes one row an epoch to ``curves.parquet`` and to the terminal, and hands it to trackers."""

    def __init__(
        self,
        folder: Path,
        rows: list[dict[str, Any]],
        sessions: Sequence[Session] = (),
        watch: Watch | None = None,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path, self.rows = folder / "curves.parquet", rows
        self.sessions, self.watch = sessions, watch

    def __enter__(self) -> Curves:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for session in self.sessions:
            session.finish(None)

    def add(self, row: dict[str, Any]) -> None:
        """Keep one epoch's numbers."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        self.rows.append(row)
        if not team().leads:
            return
        step = len(self.rows)
        columns = list(dict.fromkeys(name for one in self.rows for name in one))
        table = pa.table({"step": list(range(1, step + 1)), **{c: [one.get(c) for one in self.rows] for c in columns}})
        with replacing(self.path) as aside:
            pq.write_table(table, aside)
        numbers = "  ".join(f"{name} {value:.4f}" for name, value in row.items() if name.startswith(PRINTED))
        print(f"{row['phase']} {row['epoch']:3d}  {row['seconds']:7.1f} s  {numbers}", flush=True)
        sent = {name: float(value) for name, value in row.items() if "/" in name and math.isfinite(value)}
        for session in self.sessions:
            session.log(step, sent)
        if self.watch is not None:
            self.watch(step, row)
