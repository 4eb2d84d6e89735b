"""What is told to the trackers of a run: its epochs while it trains, and what it came to when it is evaluated."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import psutil
from pydantic import TypeAdapter

from genre.clock import times
from genre.config import Config
from genre.taskfigures import pictures_of
from genre.trackers import Result, Session, Tracked

if TYPE_CHECKING:
    from pathlib import Path

    from genre.fitting import Fitter
    from genre.run import Run
    from genre.stepping import Stepper
    from genre.textfitting import TextFitter

FILES = {"curves": "model/curves.parquet", "metrics": "evaluate/metrics.json", "model": "model/finetuned"}
FILES |= {"report": "report/report.html", "manifest": "manifest.json"}
MOST_SHOWN = 5
"""Items of each list of a sample recommendation."""


def started(config: Config, folder: Path, done: int) -> list[Session]:
    """A session with each of the configuration's trackers, for a run of which so many epochs are done."""
    if not config.track:
        return []
    plain = TypeAdapter(Config).dump_python(config, mode="json")
    return [tracker.start(Tracked(config.name, folder, plain, done)) for tracker in config.track]


@times("write")
def tell_result(config: Config, run: Run) -> None:
    """Send what the evaluation found, sample recommendations and the places of the files."""
    if not config.track:
        return
    found = _result(run)
    for session in started(config, run.folder, _epochs(run)):
        session.finish(found)


def _result(run: Run) -> Result:
    folder = run.path("evaluate")
    metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    values = {
        f"{system}/{name}": measured["value"]
        for system, measures in metrics["systems"].items()
        for name, measured in measures.items()
        if measured["value"] is not None
    }
    shown = folder / "examples.json"
    examples = json.loads(shown.read_text(encoding="utf-8")) if shown.exists() else []
    files = {name: run.folder / path for name, path in FILES.items() if (run.folder / path).exists()}
    return Result(values, [_example(one) for one in examples if "systems" in one], files, pictures_of(metrics))


def _example(one: dict[str, Any]) -> dict[str, str]:
    lists = {name: [item["title"] for item in of["items"][:MOST_SHOWN]] for name, of in one["systems"].items()}
    words = {"user": one["user_id"], "history": "; ".join(one["history"]), "next": "; ".join(one["next"])}
    return words | {name: "; ".join(titles) for name, titles in lists.items()}


def _epochs(run: Run) -> int:
    path = run.path("model") / "training.json"
    return sum(json.loads(path.read_text(encoding="utf-8"))["epochs"].values()) if path.exists() else 0


def pace(steppers: Mapping[str, Stepper], fitter: Fitter | TextFitter, seconds: float) -> dict[str, float]:
    """Of an epoch that took so long: lengths of the gradients, weights of the tasks, speed and memory."""
    found = {f"gradient/{name}": stepper.mean_length() for name, stepper in steppers.items()}
    found |= {f"weight/{name}": weight for name, weight in fitter.model.balance.now().items()}
    found["speed/interactions_per_second"] = fitter.n_interactions / max(seconds, 1e-9)
    found["memory/rss_mb"] = psutil.Process().memory_info().rss / 2**20
    return found
