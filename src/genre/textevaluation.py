"""Measures a model of texts beside simple baselines; the result has the same form as that of a recommender."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from genre.clock import times
from genre.comparisons import Measured, Resamples
from genre.config import Config
from genre.data import Dataset
from genre.errors import RunError
from genre.files import replacing_folder, seal, write_json
from genre.heads import Head
from genre.metrics import Metric, Predictions
from genre.parallel import team
from genre.run import Run
from genre.sheets import Rows, Sheet, SheetMaker
from genre.taskmeasures import cost, directions_of, measures_of_task, paired
from genre.tasks import Plots, draw, no_plots
from genre.textbaselines import FittedText, TextRows, fit_text_baselines
from genre.textmodel import TrainedTexts
from genre.textvalidation import groups, judged
from genre.types import Floats

WHAT = {
    "model": "the fine-tuned model",
    "model_before": "the model before its language model was fine-tuned; its heads were trained",
    "global_mean": "the mean of the training labels, of classes the share of each",
    "tfidf": "TF-IDF of words or characters with a linear model, settings chosen on validation",
}


@dataclass
class TextEvaluation:
    """One evaluation of a model of texts."""

    config: Config
    run: Run
    data: Dataset
    measured: dict[str, dict[str, Measured]] = field(default_factory=dict)
    directions: dict[str, bool] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    plots: Plots = field(default_factory=no_plots)

    def write(self, folder: Path, version: int) -> None:
        """Measure, and write ``metrics.json`` and ``examples.json``, all or nothing."""
        started = time.perf_counter()
        self._ask()
        tasks = {name: found for name, head in self.models["model"].heads.items() if (found := self._task(name, head))}
        result = self._result(tasks)
        result["cost"] = cost(self.run, time.perf_counter() - started, self.seconds)
        if not team().leads:
            return
        with replacing_folder(folder) as aside:
            write_json(aside / "metrics.json", result)
            write_json(aside / "examples.json", self._examples())
            seal(aside, version, data=self.data.hash)

    @times("ask the models")
    def _ask(self) -> None:
        """What every model says of the test texts."""
        folder = self.run.path("model")
        versions = {"model": "finetuned", "model_before": "before"}
        found = {name: folder / version for name, version in versions.items() if (folder / version).exists()}
        if "model" not in found:
            raise RunError(f"{folder / 'finetuned'}: not there; make it with 'genre train'")
        self.models = {name: TrainedTexts.load(path, self.data) for name, path in found.items()}
        loaded, shots = self.models["model"].loaded, self.config.train.shots
        maker = SheetMaker(self.config.model, loaded, self.data, self.config.seed, shots)
        self.sheets = {part: maker.part(part) for part in ("train", "valid", "test")}
        self.answers: dict[str, dict[str, list[Floats]]] = {}
        for name, model in self.models.items():
            started = time.perf_counter()
            self.answers[name] = model.answers(self.sheets["test"], self.config.train.cache_gb * 1e9)
            self.seconds[name] = round(time.perf_counter() - started, 3)

    @times("metrics")
    def _task(self, name: str, head: Head) -> dict[str, Any] | None:
        """Measures of one head's predictions and of its baselines; None where no test text has its label."""
        test, facts = self.sheets["test"], self.models["model"].model.labels
        judges: list[Metric] = [metric for metric in self.config.evaluate.metrics if metric.needs == head.predicts]
        if name not in test.labels or np.isnan(test.labels[name]).all():
            return None
        systems = {s: judged(head, name, test, said[name], facts) for s, said in self.answers.items()}
        truth = systems["model"]
        baselines = self._baselines(name, head)
        for label, fitted in baselines.items():
            systems[label] = self._baseline(name, test, fitted, truth)
        resamples = Resamples.of(self._people(name, truth), self.config.evaluate.bootstrap, self.config.seed)
        for system, predictions in systems.items():
            measured = dict(measures_of_task(predictions, judges, resamples))
            self.measured.setdefault(system, {}).update({f"{name}.{key}": m for key, m in measured.items()})
            draw(self.plots, name, head, system, predictions)
        self.directions |= directions_of(name, truth, judges)
        chosen = {label: {"choice": str(one.choice), "valid_loss": one.valid} for label, one in baselines.items()}
        return {"label": head.label, "task": head.predicts, "rows": len(truth.truth), "baselines": chosen}

    def _people(self, name: str, truth: Predictions) -> Any:
        """Whose each row is, so that one person's rows are drawn together."""
        test = self.sheets["test"]
        if len(truth.truth) == int((~np.isnan(test.labels[name])).sum()) and test.asked is not None:
            return test.asked.user[~np.isnan(test.labels[name])]
        return truth.group

    @times("fit baselines")
    def _baselines(self, name: str, head: Head) -> dict[str, FittedText]:
        if head.predicts not in ("binary", "regression", "multiclass"):
            return {}
        train, valid = (self._rows(name, self.sheets[part]) for part in ("train", "valid"))
        classes = np.array(self.models["model"].model.labels[name].classes)
        if head.predicts == "multiclass":
            train, valid = (replace(one, label=np.searchsorted(classes, one.label)) for one in (train, valid))
        count = head.predicts == "regression" and bool((train.label >= 0).all()) and not (train.label % 1).any()
        return fit_text_baselines(head.predicts, train, valid, count, len(classes))

    def _rows(self, name: str, sheet: Sheet) -> TextRows:
        known = self._known(name, sheet)
        return TextRows([sheet.prompts[i].text for i in known], sheet.labels[name][known])

    def _known(self, name: str, sheet: Sheet) -> Rows:
        """Texts with a label; of classes, one that training has."""
        known = ~np.isnan(sheet.labels[name])
        head, facts = self.models["model"].heads[name], self.models["model"].model.labels[name]
        if head.predicts == "multiclass":
            known &= np.isin(sheet.labels[name], facts.classes)
        return np.flatnonzero(known)

    @times("fit baselines")
    def _baseline(self, name: str, test: Sheet, fitted: FittedText, truth: Predictions) -> Predictions:
        known = np.flatnonzero(~np.isnan(test.labels[name]))
        return replace(truth, prediction=fitted([test.prompts[i].text for i in known]).astype(np.float32))

    @times("comparisons")
    def _result(self, tasks: dict[str, Any]) -> dict[str, Any]:
        return {
            "contract": self._contract(),
            "systems": {s: {key: m.as_json() for key, m in found.items()} for s, found in self.measured.items()},
            "comparisons": list(paired(self.measured, ("model",), self.directions)),
            "best_baseline": {},
            "gate": None,
            "slices": {},
            "tasks": tasks,
            **self.plots,
            "larger_is_better": self.directions,
            "validation": {},
            "settings": {},
            "what": {name: what for name, what in WHAT.items() if name in self.measured},
        }

    def _contract(self) -> dict[str, Any]:
        """What must be equal before two results may be compared."""
        manifest, test = self.data.manifest, self.sheets["test"]
        return {
            "dataset": manifest.get("name", ""),
            "data_hash": self.data.hash,
            "split": manifest.get("split", {}),
            "grouping": "user",
            "seeds": [self.config.seed],
            "users": len(np.unique(groups(test))),
            "cases": len(test),
            "bootstrap": self.config.evaluate.bootstrap,
        }

    def _examples(self) -> list[dict[str, Any]]:
        """A few test texts, drawn at random, with what was true and what was said before and after."""
        test, n = self.sheets["test"], self.config.evaluate.examples
        drawn = np.sort(np.random.default_rng(self.config.seed).permutation(len(test))[:n])
        return [{"text": test.prompts[i].text, "heads": self._said(int(i))} for i in drawn]

    def _said(self, row: int) -> dict[str, dict[str, Any]]:
        test = self.sheets["test"]
        found: dict[str, dict[str, Any]] = {}
        for name, head in self.models["model"].heads.items():
            if head.predicts in ("binary", "regression"):
                truth = float(test.labels[name][row])
                said = {system: float(answers[name][row]) for system, answers in self.answers.items()}
                found[name] = {"truth": None if np.isnan(truth) else truth, **said}
        return found
