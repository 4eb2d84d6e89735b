"""What the interactions cost in memory, from the file they come in to the batches of training.

    python benchmarks/memory.py [--sizes 300000 1000000 3000000] [--map 256 1] [--out FILE]

A log is made: an eighth as many people as events, 100,000 items of skewed popularity, two actions, a value, a time.
Each step is told by the memory that it needed at most beyond what the process held before, and by what the process
holds after it, of its own and of mapped files, which the system takes back when it must. ``--map`` are the sizes above
which a picked array is mapped (``GENRE_MAP_MB``). Below stands by which power of the events each step's memory grows.
Linux only, as peaks are read from /proc.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv

from genre.batches import TrainingLog
from genre.component import Slot
from genre.config import DataSection
from genre.data import Dataset, Histories, Log
from genre.prepare import build
from genre.run import machine, versions

ITEMS = 100_000
STATUS = Path("/proc/self/status")


def write(path: Path, n: int, seed: int = 7) -> None:
    """A log of ``n`` events as CSV."""
    rng = np.random.default_rng(seed)
    people, items = rng.integers(0, max(2, n // 8), n), (ITEMS * rng.random(n) ** 2.5).astype(np.int64)
    table = pa.table(
        {
            "user_id": pa.array([f"U{i:07d}" for i in range(people.max() + 1)]).take(pa.array(people)),
            "item_id": pa.array([f"B{i:07d}" for i in range(ITEMS)]).take(pa.array(items)),
            "action": pa.array(["rate", "view"]).take(pa.array(rng.integers(0, 2, n))),
            "value": rng.integers(1, 6, n),
            "timestamp": rng.integers(10**9, 14 * 10**8, n),
        }
    )
    pyarrow.csv.write_csv(table, path)


def held() -> dict[str, float]:
    """Megabytes of this process: at most since the last reset, now, of its own now, of mapped files now."""
    lines = dict(line.split(":", 1) for line in STATUS.read_text().splitlines())
    names = {"peak": "VmHWM", "now": "VmRSS", "own": "RssAnon", "mapped": "RssFile"}
    return {name: int(lines[key].split()[0]) / 1024 for name, key in names.items()}


class Steps:
    """The steps of one process, each with its time and memory."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        pa.set_memory_pool(pa.system_memory_pool())

    def step(self, name: str, work: Callable[[], Any]) -> Any:
        """Do it and note what it cost; what the allocator holds back is given back first."""
        libc = ctypes.CDLL("libc.so.6")
        libc.malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5")
        before, started = held()["now"], time.perf_counter()
        made = work()
        seconds, peak = time.perf_counter() - started, held()["peak"]
        libc.malloc_trim(0)
        after = held()
        row = {"step": name, "seconds": round(seconds, 2), "more_mb": round(peak - before)}
        self.rows.append(row | {"own_mb": round(after["own"]), "mapped_mb": round(after["mapped"])})
        return made


def preparing(folder: Path) -> list[dict[str, Any]]:
    """From the file to the prepared dataset."""
    steps = Steps()
    reader = Slot("datasets").build({"type": "table", "interactions": str(folder / "log.csv")})
    section = DataSection(reader=reader, split=Slot("splits").build("last"))
    reading = steps.step("read the file", reader.read)
    data = steps.step("check and split", lambda: build(reading, section, 7))
    steps.step("write", lambda: data.save(folder / "data"))
    return steps.rows


def using(folder: Path) -> list[dict[str, Any]]:
    """From the prepared dataset to the first batch."""
    steps = Steps()
    log = steps.step("open", lambda: Log.of(Dataset.load(folder / "data")))
    train = steps.step("training part", lambda: log.parts("train"))
    histories = steps.step("histories before the test", lambda: Histories.of(log.before("test")))
    steps.step("1,000 histories", lambda: histories.take(np.arange(1000)))
    batches = steps.step("windows", lambda: TrainingLog(train, {}, 50, 1000))
    steps.step("first batch", lambda: next(batches.epoch(256, np.random.default_rng(7))))
    return steps.rows


def apart(work: str, folder: Path, map_mb: float) -> list[dict[str, Any]]:
    """One process's steps."""
    command = [sys.executable, __file__, "--work", work, "--folder", str(folder)]
    given = {**os.environ, "GENRE_MAP_MB": str(map_mb), "GENRE_CACHE": str(folder / "cache")}
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True, env=given).stdout)


def exponents(rows: list[dict[str, Any]]) -> dict[str, float]:
    """By which power of the events each step's memory grows; none for steps that need less than a megabyte."""
    found = {}
    for name in dict.fromkeys((row["step"], row["map_mb"]) for row in rows):
        mine = [row for row in rows if (row["step"], row["map_mb"]) == name and row["more_mb"] > 0]
        if len({row["events"] for row in mine}) > 1:
            sizes, memory = np.log([row["events"] for row in mine]), np.log([row["more_mb"] for row in mine])
            found[f"{name[0]}, {name[1]:g}"] = round(float(np.polyfit(sizes, memory, 1)[0]), 2)
    return found


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--sizes", type=int, nargs="+", default=[300_000, 1_000_000, 3_000_000], help="events")
    options.add_argument("--map", type=float, nargs="+", default=[256, 1], help="megabytes above which to map")
    options.add_argument("--out", type=Path, default=Path("benchmarks/results/memory.json"))
    options.add_argument("--work", choices=["prepare", "use"], help=argparse.SUPPRESS)
    options.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    chosen = options.parse_args()
    if chosen.work:
        print(json.dumps((preparing if chosen.work == "prepare" else using)(chosen.folder)))
        return
    rows: list[dict[str, Any]] = []
    print(f"{'events':>10}  {'map above':>9}  {'step':<28} {'s':>7} {'more MB':>8} {'own MB':>7} {'mapped':>7}")
    for events in chosen.sizes:
        with tempfile.TemporaryDirectory() as made:
            folder = Path(made)
            write(folder / "log.csv", events)
            runs = [("prepare", chosen.map[0]), *(("use", most) for most in chosen.map)]
            for work, most in runs:
                for row in apart(work, folder, most):
                    rows.append({"events": events, "map_mb": most, **row})
                    told = f"{row['seconds']:7.2f} {row['more_mb']:8,} {row['own_mb']:7,} {row['mapped_mb']:7,}"
                    print(f"{events:>10,}  {most:>6g} MB  {row['step']:<28} {told}", flush=True)
    result = {"rows": rows, "exponents": exponents(rows), "machine": machine(), "versions": versions()}
    chosen.out.parent.mkdir(parents=True, exist_ok=True)
    chosen.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    for name, power in exponents(rows).items():
        print(f"{name} MB: grows with the events to the power of {power:.2f}")


if __name__ == "__main__":
    main()
