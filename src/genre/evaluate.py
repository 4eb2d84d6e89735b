"""Stage: measure the pipeline, the model before and after fine-tuning, and the baselines; write the result contract."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter

from genre.cases import Cases
from genre.clock import timed_each, times
from genre.comparisons import Measured, Resamples, best_by_validation, compare, gate
from genre.component import describe
from genre.config import Config
from genre.contestants import WHAT, Contestants
from genre.data import Dataset, Histories
from genre.errors import GenreError
from genre.examples import examples
from genre.explaining import explain_items
from genre.files import digest, replacing_folder, seal, write_json
from genre.metrics import Metric, Ranking
from genre.parallel import team
from genre.progress import progress
from genre.resources import hash_of, model_hash
from genre.run import Run
from genre.shotcurve import MOST_CASES, ShotCurve
from genre.slices import slices
from genre.systems import Catalogue, longest_list, measure, metric_named, rank_cases, subset
from genre.taskmeasures import cost, directions_of, measures_of_task, paired
from genre.tasks import Plots, Task, draw, no_plots
from genre.textevaluation import TextEvaluation
from genre.tracking import tell_result
from genre.tuning import CRITERION

FORMAT = 1
"""Version of the layout of the folder that `genre evaluate` writes."""

TIES = "an item scored as high as a relevant one stands above it"
SLICED = ("ndcg@10", "recall@10")
"""The metrics that slices show."""
MOST_LEFT_OUT = 20
"""Latest events that an example's reason is sought among: a `cross` model reads the top anew without each."""
MOST_READ = 20_000
"""Pairs that the curve of few events may have a `cross` model read: each costs a pass of the language model."""

Directed = dict[str, bool]
"""Whether larger is better, for each measure that has a better."""


def evaluate(config: Config, run: Run) -> None:
    """Measure everything on the test part, and print the table. Raises `GenreError` when a system cannot answer."""
    data = Dataset.load(run.path("data"))
    section = TypeAdapter(Config).dump_python(config, mode="json")["evaluate"]
    inputs = {"data": data.hash, "model": model_hash(run), "evaluate": section, "seed": config.seed}
    if config.model.formulation.reads == "rows":
        if run.do("evaluate", inputs, lambda folder: _measured(config, run, data, folder)):
            tell_result(config, run)
        return
    rank_manifest = json.loads((run.path("rank") / "manifest.json").read_text(encoding="utf-8"))
    inputs["rank"] = digest(rank_manifest)
    if config.pipeline.rerankers:
        inputs["rerankers"] = [describe(one) for one in config.pipeline.rerankers]
    if run.do("evaluate", inputs, lambda folder: _measured(config, run, data, folder)):
        tell_result(config, run)


def _measured(config: Config, run: Run, data: Dataset, folder: Path) -> None:
    """Measure, here or by several workers, who answer for a part of the test each."""
    if config.executor.here:
        _measure(config, run, data, folder)
    else:
        config.executor.run(evaluate_in_team, config, run.folder.absolute(), folder.absolute())


def evaluate_in_team(config: Config, run: Path, folder: Path) -> None:
    """What each of several workers does."""
    found = Run(run, config)
    _measure(config, found, Dataset.load(found.path("data")), folder)


def _measure(config: Config, run: Run, data: Dataset, folder: Path) -> None:
    if config.model.formulation.reads == "rows":
        TextEvaluation(config, run, data).write(folder, FORMAT)
    else:
        Evaluation(config, run, data).write(folder)


@dataclass
class Evaluation:
    """One evaluation: its measurements, gathered step by step."""

    config: Config
    run: Run
    data: Dataset
    measured: dict[str, dict[str, Measured]] = field(default_factory=dict)
    """By system, then by measure."""
    rankings: dict[str, Ranking] = field(default_factory=dict)
    directions: Directed = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    plots: Plots = field(default_factory=no_plots)

    def __post_init__(self) -> None:
        self.section = self.config.evaluate
        self.metrics: list[Metric] = list(self.section.metrics)
        self.contestants = Contestants(self.config, self.run, self.data)
        self.log = self.contestants.log
        self.cases = Cases.of(self.log, "test", self.section.candidates)
        self.resamples = Resamples.of(self.cases.user, self.section.bootstrap, self.config.seed)

    def write(self, folder: Path) -> None:
        """Measure, and write ``metrics.json``, ``units.parquet`` and ``examples.json``, all or nothing."""
        started = time.perf_counter()
        self._rank()
        units = self._measure_rankings()
        tasks = self._measure_tasks()
        result = self._result(tasks)
        curve = {"shot_curve_seconds": round(self.curve.seconds, 2)}
        result["cost"] = cost(self.run, time.perf_counter() - started, self.seconds) | curve
        if not team().leads:
            return
        with replacing_folder(folder) as aside:
            write_json(aside / "metrics.json", result)
            self._write_units(aside / "units.parquet", units)
            write_json(aside / "examples.json", self._examples())
            seal(aside, FORMAT, data=self.data.hash)
        show(result)

    def _rank(self) -> None:
        train = self.log.parts("train")
        self.catalogue = Catalogue.of(train, self.contestants.resources)
        self.curve = self._curve()
        longest = max(longest_list(self.metrics), 10)
        # Where fine-tuning was better nowhere both versions are one model, and need not be asked twice.
        one = hash_of(self.run, "before") == hash_of(self.run, "finetuned")
        with progress("evaluate", self.contestants.count() * len(self.cases)) as advance:
            for name, score in timed_each("fit systems", self.contestants.systems()):
                started = time.perf_counter()
                same = self.rankings.get(name.removesuffix("_before")) if one else None
                self.rankings[name] = same or rank_cases(score, self.cases, self.catalogue, longest, advance)
                advance(len(self.cases) if same else 0)
                self.seconds[name] = round(time.perf_counter() - started, 3)
                tuned = self.contestants.tuned.get(name)
                self.curve.hear(name, score, self.rankings[name], tuned and tuned.valid.get(CRITERION))

    def _curve(self) -> ShotCurve:
        """The curve of few events on a sample small enough that it stays a small part of the evaluation."""
        most, shots = MOST_CASES, self.section.shots
        if (reader := self.contestants.pipeline.reranker) is not None:
            most = min(most, max(1, MOST_READ // (reader.top * max(1, len(shots)))))
        return ShotCurve.drawn(self.cases, shots, self.catalogue, self.section.bootstrap, self.config.seed, most)

    def _measure_rankings(self) -> dict[str, dict[str, NDArray[np.float64]]]:
        """Values of every system and case, whose means and intervals go to ``measured``."""
        units: dict[str, dict[str, NDArray[np.float64]]] = {}
        for metric in self.metrics:
            if metric.needs == "ranking" and metric.larger_is_better is not None:
                names = metric.measure(next(iter(self.rankings.values())))
                self.directions |= dict.fromkeys(names, bool(metric.larger_is_better))
        for name, ranking in self.rankings.items():
            values = measure(ranking, self.metrics)
            units[name] = {key: v for key, v in values.items() if np.ndim(v)}
            whole = {key: _of_all(float(v)) for key, v in values.items() if not np.ndim(v)}
            found = {**whole, **self.resamples.means(units[name])}
            self.measured[name] = {key: found[key] for key in values}
        return units

    @times("heads")
    def _measure_tasks(self) -> dict[str, Any]:
        """The heads and their baselines: measures are called ``head.metric``."""
        found: dict[str, Any] = {}
        models = self.contestants.models
        for name, head in self.config.model.heads.items():
            task = Task.of(name, head, self.log) if models else None
            if task is None:
                continue
            judges = task.metrics(self.metrics)
            chosen = {label: {"shrinkage": b.shrinkage, "valid_loss": b.valid} for label, b in task.baselines.items()}
            found[name] = {"label": head.label, "task": head.predicts, "rows": len(task.owner), "baselines": chosen}
            resamples = Resamples.of(task.rows.user, self.section.bootstrap, self.config.seed)
            for system, predictions in task.systems(models):
                measured = dict(measures_of_task(predictions, judges, resamples))
                self.measured.setdefault(system, {}).update({f"{name}.{key}": m for key, m in measured.items()})
                draw(self.plots, name, head, system, predictions)
                self.directions |= directions_of(name, predictions, judges)
        return found

    @times("slices and comparisons")
    def _result(self, tasks: dict[str, Any]) -> dict[str, Any]:
        valid = {name: tuned.valid for name, tuned in self.contestants.tuned.items()}
        best = best_by_validation(valid, {key: up for key, up in self.directions.items() if "." not in key})
        first = CRITERION if CRITERION in self.directions else next(iter(best), CRITERION)
        return {
            "contract": self._contract(),
            "systems": {s: {key: m.as_json() for key, m in found.items()} for s, found in self.measured.items()},
            "comparisons": list(self._comparisons()),
            "best_baseline": best,
            "gate": gate(first, best, self.measured, self.directions.get(first, True)),
            "slices": self._slices(best.get(CRITERION)),
            "shot_curve": self.curve.as_json(),
            "tasks": tasks,
            **self.plots,
            "larger_is_better": self.directions,
            "validation": valid,
            "settings": {name: self._settings(name) for name in self.contestants.tuned},
            "what": {name: what for name, what in WHAT.items() if name in self.measured},
        }

    def _contract(self) -> dict[str, Any]:
        """What must be equal before two results may be compared."""
        manifest = self.data.manifest
        cutoffs = {k for metric in self.metrics for k in getattr(metric, "k", [])}
        return {
            "dataset": manifest.get("name", ""),
            "data_hash": self.data.hash,
            "split": manifest.get("split", {}),
            "candidates": self.section.candidates,
            "ties": TIES,
            "grouping": "impression" if self.section.candidates == "impression" else "user",
            "k": sorted(cutoffs),
            "seeds": [self.config.seed],
            "users": len(np.unique(self.cases.user)),
            "cases": len(self.cases),
            "targets": sum(len(items) for items in self.cases.targets),
            "cold_targets": int(sum((self.catalogue.counts[items] == 0).sum() for items in self.cases.targets)),
            "cases_without_history": int((self.cases.histories.lengths == 0).sum()),
            "repeated_targets_left_out": self.cases.repeated,
            "bootstrap": self.section.bootstrap,
        }

    def _comparisons(self) -> Iterator[dict[str, Any]]:
        """The pipeline beside every system, and the fine-tuned model beside what it was before and its baselines."""
        for found in paired(self.measured, ("genre", "model"), self.directions):
            if (found["a"], found["b"]) != ("model", "genre_before"):
                yield found

    def _slices(self, best: str | None) -> dict[str, Any]:
        shown = [name for name in ("genre", "model", "model_before", "pretrained", best) if name in self.rankings]
        pairs = (("genre", best), ("genre", "pretrained"), ("model", "model_before"))
        judges = [metric_named(name) for name in SLICED]
        found: dict[str, Any] = {}
        for one in slices(self.cases, self.catalogue.counts, self.data.users):
            resamples = Resamples.of(self.cases.user[one.rows], self.section.bootstrap, self.config.seed)
            measured: dict[str | None, dict[str, Measured]] = {}
            for name in shown:
                values = measure(subset(self.rankings[name], one.rows, one.targets), judges)
                measured[name] = resamples.means({key: np.asarray(v) for key, v in values.items()})
            sides = [(a, b) for a, b in dict.fromkeys(pairs) if a in measured and b in measured]
            found[one.name] = {
                "n": len(one.rows),
                "systems": {s: {key: m.as_json() for key, m in of.items()} for s, of in measured.items()},
                "comparisons": [
                    {"a": a, "b": b, "metric": SLICED[0], **beside}
                    for a, b in sides
                    if (beside := compare(measured[a][SLICED[0]], measured[b][SLICED[0]], larger_is_better=True))
                ],
            }
        return found

    def _settings(self, name: str) -> dict[str, Any]:
        return describe(self.contestants.tuned[name].source)

    @times("write")
    def _examples(self) -> list[dict[str, Any]]:
        shown = {name: r for name, r in self.rankings.items() if name in ("model_before", "model", "genre")}
        # What was shown together is ranked whether or not it was a candidate, and only a candidate has reasons.
        why = {"genre": self._why} if self.section.candidates == "all_unseen" else {}
        return examples(self.data, self.cases, shown, self.section.examples, self.config.seed, why)

    def _why(self, histories: Histories, row: int) -> str | None:
        pipeline = self.contestants.pipeline
        try:
            return explain_items(pipeline, histories, [pipeline.item_ids[row]], MOST_LEFT_OUT)[0].sentence
        except GenreError:
            # An item as good as the last candidate may be one among many people and none for one alone.
            return None

    @times("write")
    def _write_units(self, path: Path, units: dict[str, dict[str, NDArray[np.float64]]]) -> None:
        """A row for each system and case, so that any comparison can be made again."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        n = len(self.cases)
        users = self.data.users["user_id"].take(pa.array(self.cases.user))
        columns = {
            "system": pa.array(np.repeat(list(units), n)).dictionary_encode(),
            "user_id": pa.chunked_array([chunk for _ in units for chunk in users.chunks], type=users.type),
            "impression": pa.array(np.tile(self.cases.impression, len(units))),
        }
        keys = list(next(iter(units.values())))
        values = {key: np.concatenate([found[key] for found in units.values()]).astype(np.float32) for key in keys}
        pq.write_table(pa.table({**columns, **values}), path, compression="zstd")


def _of_all(value: float) -> Measured:
    """A measure of the whole; none where it is undefined, as the inequality of lists that are all empty."""
    return Measured(value if np.isfinite(value) else None)


def show(result: dict[str, Any], columns: tuple[str, ...] = ("recall@10", "ndcg@10", "mrr@10", "auc")) -> None:
    """Print the systems as a table, and the verdict."""
    from rich.console import Console
    from rich.table import Table

    shown = [name for name in columns if any(name in found for found in result["systems"].values())]
    table = Table(title=f"{result['contract']['dataset']}: {result['contract']['users']} test users, 95 % intervals")
    table.add_column("system")
    for name in shown:
        table.add_column(name, justify="right")
    for system, found in result["systems"].items():
        if any(name in found for name in shown):
            table.add_row(system, *(_cell(found.get(name)) for name in shown))
    console = Console(width=None if Console().is_terminal else 120)
    console.print(table)
    if result["gate"]:
        console.print(result["gate"]["sentence"], markup=False, highlight=False)


def _cell(measured: dict[str, Any] | None) -> str:
    if measured is None or measured["value"] is None:
        return "-"
    if measured["ci95"] is None:
        return f"{measured['value']:.4f}"
    low, high = measured["ci95"]
    return f"{measured['value']:.4f} [{low:.4f}, {high:.4f}]"
