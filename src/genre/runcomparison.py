"""Finished runs beside each other: what was measured, where their settings differ, how they learned."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from genre.comparisons import Resamples, compare
from genre.errors import GenreError
from genre.figures import curves, forest
from genre.files import unseal
from genre.run import Run

FORMAT = 1
"""Of the folder that `genre evaluate` writes."""
SYSTEMS = ("genre", "model", "model_before")
DRAWN = ("ndcg@10", "recall@10")
MOST_DRAWN = 5
"""Runs that a picture can tell apart."""
ALIKE = ("name", "seed", "track", "search")
"""Settings that say nothing of what a run is."""


@dataclass(frozen=True)
class Measured:
    """One run that was evaluated."""

    run: Run

    @classmethod
    def open(cls, folder: Path) -> Measured:
        """Raises `RunError` where the folder is no run, or was not evaluated, or has been changed since."""
        run = Run.open(folder)
        unseal(run.path("evaluate"), FORMAT, f"genre evaluate {folder}")
        return cls(run)

    @property
    def name(self) -> str:
        """Of its folder."""
        return self.run.folder.name

    @cached_property
    def result(self) -> dict[str, Any]:
        """What was measured."""
        return json.loads((self.run.path("evaluate") / "metrics.json").read_text(encoding="utf-8"))

    @cached_property
    def settings(self) -> dict[str, Any]:
        """Every setting by its dotted name."""
        config = json.loads((self.run.folder / "config.json").read_text(encoding="utf-8"))
        return dict(flat({name: value for name, value in config.items() if name not in ALIKE}))

    @cached_property
    def curves(self) -> list[dict[str, Any]]:
        """A row an epoch."""
        import pyarrow.parquet as pq

        path = self.run.path("model") / "curves.parquet"
        return pq.read_table(path).to_pylist() if path.exists() else []


def flat(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Leaves of plain data by dotted name; a list of plain words is a leaf."""
    if isinstance(value, dict) and value:
        for key, one in value.items():
            yield from flat(one, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list) and any(isinstance(one, (dict, list)) for one in value):
        for i, one in enumerate(value):
            yield from flat(one, f"{path}[{i}]")
    else:
        yield path, value


class Comparison:
    """Some runs, the first of which the others stand beside."""

    def __init__(self, folders: list[Path]) -> None:
        self.runs = [Measured.open(folder) for folder in folders]
        self._name_apart(folders)
        self._insist()

    def _name_apart(self, folders: list[Path]) -> None:
        names = [one.name for one in self.runs]
        self.names = names if len(set(names)) == len(names) else [str(folder) for folder in folders]

    def _insist(self) -> None:
        """Raise `GenreError` where the runs were not asked the same."""
        first = self.runs[0]
        problems = []
        for name, other in zip(self.names[1:], self.runs[1:], strict=True):
            a, b = (dict(flat(one.result["contract"])) for one in (first, other))
            apart = [key for key in dict.fromkeys([*a, *b]) if a.get(key) != b.get(key) and key != "seeds"]
            problems += [
                f"  {key}: {_short(a.get(key))} in {self.names[0]}, {_short(b.get(key))} in {name}" for key in apart
            ]
        if problems:
            raise GenreError(
                "these results do not compare, since they answer different questions; their contracts differ in\n"
                + "\n".join(problems)
                + "\ncompare runs of the same data, split, candidates and cut-offs"
            )

    @property
    def metrics(self) -> list[str]:
        """Measures that every run has of some system, those with a better first."""
        of = [{name for s in SYSTEMS for name in one.result["systems"].get(s, {})} for one in self.runs]
        shared = set.intersection(*of)
        larger = self.runs[0].result["larger_is_better"]
        return [name for name in dict.fromkeys([*larger, *sorted(shared)]) if name in shared]

    def values(self, metric: str) -> list[tuple[str, list[dict[str, Any] | None]]]:
        """For each system the measure in every run; systems that no run has it of are left out."""
        rows = [(s, [one.result["systems"].get(s, {}).get(metric) for one in self.runs]) for s in SYSTEMS]
        return [(s, found) for s, found in rows if any(one and one["value"] is not None for one in found)]

    def settings(self) -> list[tuple[str, list[Any]]]:
        """Settings that differ, with the value in every run."""
        names = dict.fromkeys(name for one in self.runs for name in one.settings)
        found = [(name, [one.settings.get(name) for one in self.runs]) for name in names]
        return [(name, values) for name, values in found if any(value != values[0] for value in values)]

    def seeds(self) -> list[Any]:
        """Of every run; the same questions asked of models by other seeds compare."""
        return [one.run.config.seed for one in self.runs]

    @cached_property
    def differences(self) -> list[dict[str, Any]]:
        """Every further run less the first, person by person, with intervals; of rankings."""
        import pyarrow.parquet as pq

        files = [one.run.path("evaluate") / "units.parquet" for one in self.runs]
        if not all(file.exists() for file in files):
            return []
        tables = [pq.read_table(file) for file in files]
        larger = self.runs[0].result["larger_is_better"]
        found = []
        for system in SYSTEMS[:2]:
            sides = [table.filter(np.array(table["system"].to_pylist()) == system) for table in tables]
            asked = [_asked(side) for side in sides]
            if not asked[0] or any(one != asked[0] for one in asked):
                continue
            users = np.unique([user for user, _ in asked[0]], return_inverse=True)[1].astype(np.int32)
            resamples = Resamples.of(users, self.runs[0].run.config.evaluate.bootstrap, 7)
            shared = [m for m in larger if all(m in side.column_names for side in sides)]
            measured = [resamples.means({m: side[m].to_numpy().astype(np.float64) for m in shared}) for side in sides]
            for name, other in zip(self.names[1:], measured[1:], strict=True):
                for metric in shared:
                    if (beside := compare(other[metric], measured[0][metric], larger[metric])) is not None:
                        found.append({"run": name, "system": system, "metric": metric, **beside})
        return found

    def figures(self) -> dict[str, str]:
        """Measures with their intervals, and learning curves, of at most so many runs as can be told apart."""
        found: dict[str, str] = {}
        metrics = [name for name in DRAWN if name in self.metrics] or self.metrics[:2]
        rows = [(f"{name}: {s}", i) for i, name in enumerate(self.names[:MOST_DRAWN]) for s in ("genre", "model")]
        panels = {metric: self._estimates(metric) for metric in metrics}
        if any(panels.values()):
            present = {name for panel in panels.values() for name in panel}
            found["measures"] = forest("compared", [row for row in rows if row[0] in present], panels)
        watched = list(dict.fromkeys(n for one in self.runs for row in one.curves for n in row))
        watched = [name for name in watched if name.startswith(("valid/", "loss/"))]
        lines = {name: self._lines(name) for name in watched}
        if any(lines.values()):
            found["curves"] = curves({name: of for name, of in lines.items() if of}, [])
        return found

    def _estimates(self, metric: str) -> dict[str, Any]:
        found = {}
        for name, one in zip(self.names[:MOST_DRAWN], self.runs, strict=False):
            for system in ("genre", "model"):
                measured = one.result["systems"].get(system, {}).get(metric)
                if measured is not None:
                    found[f"{name}: {system}"] = measured
        return found

    def _lines(self, column: str) -> dict[str, list[float | None]]:
        of = {name: [row.get(column) for row in one.curves] for name, one in zip(self.names, self.runs, strict=True)}
        return {name: values for name, values in of.items() if any(v is not None for v in values)}


def _asked(side: Any) -> list[tuple[str, int]]:
    """Who was asked about which impression."""
    return list(zip(side["user_id"].to_pylist(), side["impression"].to_pylist(), strict=True))


def _short(value: Any) -> str:
    text = "nothing" if value is None else str(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
