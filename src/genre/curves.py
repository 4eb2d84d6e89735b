"""Learning curves: a Parquet table and TensorBoard events."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Any

from genre.files import replacing


class Curves:
    """Writes one row an epoch to ``curves.parquet``, to ``tensorboard/`` and to the terminal."""

    def __init__(self, folder: Path, rows: list[dict[str, Any]]) -> None:
        from tensorboardX import SummaryWriter

        folder.mkdir(parents=True, exist_ok=True)
        self.path, self.rows = folder / "curves.parquet", rows
        # Events of epochs that are trained again after a kill are purged by their step.
        self.events = SummaryWriter(str(folder / "tensorboard"), purge_step=len(rows) + 1)

    def __enter__(self) -> Curves:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.events.close()

    def add(self, row: dict[str, Any]) -> None:
        """Keep one epoch's numbers."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        self.rows.append(row)
        step = len(self.rows)
        for name, value in row.items():
            if isinstance(value, float) and name != "seconds":
                self.events.add_scalar(name, value, step)
        columns = list(dict.fromkeys(name for one in self.rows for name in one))
        table = pa.table({"step": list(range(1, step + 1)), **{c: [one.get(c) for one in self.rows] for c in columns}})
        with replacing(self.path) as aside:
            pq.write_table(table, aside)
        numbers = "  ".join(f"{name} {value:.4f}" for name, value in row.items() if "/" in name)
        print(f"{row['phase']} {row['epoch']:3d}  {row['seconds']:7.1f} s  {numbers}", flush=True)
