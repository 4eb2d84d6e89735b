"""Trainings looked up: a worker of a search that trains each setting once, keeps its curve, and plays it again.

What is asked twice, by another searcher, seed or pruner, is answered from the table at once, so that many searches cost
little more than one. So searchers are compared in the literature, by tabular benchmarks: Klein and Hutter (2019),
https://arxiv.org/abs/1905.04970 (the tables of HPOBench); Ying et al., NAS-Bench-101 (2019),
https://arxiv.org/abs/1902.09635. To have few settings, an interval without a step stands for `POINTS` values of it: a
searcher draws any number and the nearest of them is trained, which is the same to all searchers.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import importlib
import json
import math
import shutil
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from genre.files import digest
from genre.search.crew import News, Work, told
from genre.search.loop import TRIAL
from genre.sheets import Sheet, SheetMaker
from genre.space import Interval, Space, drawn_path

POINTS = 7
"""Values of an interval without a step."""


def on_lattice(values: dict[str, Any], space: Space, points: int = POINTS) -> dict[str, Any]:
    """The document with every number that is searched moved to the nearest of its few values."""
    found = copy.deepcopy(values)
    for one in space.parameters.values():
        if isinstance(one, Interval) and not one.needs:
            *way, last = drawn_path(one.at)
            node: Any = functools.reduce(lambda inner, step: inner[step], way, found)
            node[last] = nearest(one, node[last], points)
    return found


def nearest(one: Interval, value: float, points: int = POINTS) -> float:
    """The nearest of some values of an interval, on its scale."""
    place = math.log if one.scale == "log" else float
    return min(one.points(points), key=lambda other: abs(place(other) - place(value)))


@functools.cache
def kept_texts() -> None:
    """From now on, in this process, the texts of a part are written and cut into tokens once, not in every training."""
    write, kept = SheetMaker.part, dict[str, Sheet]()

    def part(self: SheetMaker, part: str) -> Sheet:
        section = self.section
        shape = {"template": section.template, "max_tokens": section.max_tokens, "formulation": section.formulation}
        labels = {name: head.label for name, head in section.heads.items()}
        facts = [self.data.hash, part, self.seed, self.shots, str(shape), str(section.backbone), labels]
        key = digest(facts)
        if key not in kept:
            kept[key] = write(self, part)
        return kept[key]

    SheetMaker.part = part


class Table:
    """The trainings of a space with one seed, in a folder that holds the data without its test part as ``data``.

    It is the one worker of a search (`genre.search.crew.Workers`), in this process: what is loaded once stays.
    """

    n = 1

    def __init__(self, folder: Path, space: Space, seed: int, call: str = TRIAL) -> None:
        self.folder, self.space, self.seed = folder, space, seed
        module, _, name = call.partition(":")
        self.train = getattr(importlib.import_module(module), name)
        self.file = folder / f"table-{seed}.jsonl"
        self.rows: dict[str, dict[str, Any]] = {}
        if self.file.exists():
            whole = [line for line in self.file.read_text(encoding="utf-8").splitlines(True) if line.endswith("\n")]
            self.file.write_text("".join(whole), encoding="utf-8")
            self.rows = {row["key"]: row for row in map(json.loads, whole)}
        self.work: Work | None = None
        self.left: list[tuple[str, dict[str, Any]]] = []
        """News of the work that are still to be told."""

    def idle(self) -> int:
        """See `Workers.idle`."""
        return int(self.work is None)

    def start(self, work: Work) -> None:
        """See `Workers.start`."""
        row = self.row(work.arguments["values"], work.arguments["objectives"])
        self.work = work
        self.left = [("epoch", {"step": step, "row": seen}) for step, seen in row["curve"]]
        self.left.append((row["kind"], row["data"]))

    def news(self, seconds: float) -> Iterator[News]:
        """See `Workers.news`."""
        if self.work is not None:
            key, (kind, data) = self.work.key, self.left.pop(0)
            if kind != "epoch":
                self.work = None
            yield News(key, kind, data)  # pyright: ignore[reportArgumentType]  # kinds as they were kept

    def answer(self, key: str, stop: bool) -> None:
        """See `Workers.answer`."""
        if stop:
            self.left = [("pruned", {})]

    def close(self) -> None:
        """See `Workers.close`."""

    def row(self, values: dict[str, Any], objectives: list[str]) -> dict[str, Any]:
        """What the training of a setting came to; trained now if it never was."""
        settled = {**on_lattice(values, self.space), "seed": self.seed}
        key = digest([settled, objectives])
        if key not in self.rows:
            row = {"key": key, "values": settled, **self._trained(key[:20], settled, objectives)}
            self.rows[key] = row
            with self.file.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
        return self.rows[key]

    def _trained(self, name: str, values: dict[str, Any], objectives: list[str]) -> dict[str, Any]:
        curve: list[tuple[int, dict[str, float]]] = []

        def watch(step: int, row: dict[str, Any]) -> None:
            curve.append((step, {name: value for name, value in row.items() if name.startswith("valid/")}))

        began = time.perf_counter()
        with (self.folder / "log.txt").open("a", encoding="utf-8") as log, contextlib.redirect_stdout(log):
            try:
                kind, data = "done", self.train(values, str(self.folder / "trials" / name), objectives, watch)
            except Exception as error:
                kind, data = told(error)
                if kind == "full":
                    raise
                traceback.print_exc(file=log)
        for part in ("trials", "models"):
            shutil.rmtree(self.folder / part, ignore_errors=True)
        return {"kind": kind, "data": data, "curve": curve, "seconds": round(time.perf_counter() - began, 2)}
