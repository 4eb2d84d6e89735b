"""`genre learn fit` of a model: trained on, ranked anew, and a run of its own if the gate lets it pass."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

from genre.component import describe, name_of
from genre.config import Config
from genre.data import Dataset
from genre.errors import ConfigError, RunError
from genre.files import write_json, write_text
from genre.learn.modelfitting import ListFitter, ListValidation, train_on
from genre.learn.modelgate import judged, page
from genre.learners import Say
from genre.rank import rank
from genre.resources import model_hash
from genre.run import Run

KEPT = ("config.json", "manifest.json", "data", "model", "rank")
"""What of a run the next one begins with."""


def learn_model(config: Config, run: Run, say: Say = print) -> dict[str, Any]:
    """Train the run's `cross` model on by ``learn.fit``, and judge its lists on the test part.

    Makes a run in ``learn/candidate``, and moves it to ``learn`` if the gate lets it pass, for every other command to
    read; ``learn/learn.json`` and ``learn/learn.html`` tell why. Nothing of ``run`` changes.
    """
    learner: Any = config.learn.fit
    _check(config, run)
    name = f"{config.name}-{name_of(learner)}"
    folder = run.path("learn")
    made = _begun(run, replace(config, name=name), folder / "candidate")
    data = Dataset.load(run.path("data"))
    fitter = ListFitter(config, data, run.path("model") / "finetuned", learner)
    curve = train_on(fitter, ListValidation.of(fitter), say)
    fitter.trained().save(made.path("model") / "finetuned", data.hash)
    write_json(
        made.path("model") / "learned.json", {"learner": describe(learner), "from": model_hash(run), "curve": curve}
    )
    rank(made.config, made)
    result = {"learner": describe(learner), "curve": curve, **judged(run, made)}
    if curve[0]["ndcg"] >= max(row["ndcg"] for row in curve):
        why = "no pass ordered the lists of the valid part better, so it is the supervised model still"
        result["gate"] |= {"published": False, "why": [why, *result["gate"]["why"]]}
    if result["gate"]["published"]:
        shutil.rmtree(folder / name, ignore_errors=True)
        made.folder.rename(folder / name)
        shutil.rmtree(folder / "candidate")
    result["run"] = str((folder if result["gate"]["published"] else folder / "candidate") / name)
    write_json(folder / "learn.json", result)
    write_text(folder / "learn.html", page(config.name, result))
    return result


def _check(config: Config, run: Run) -> None:
    """Raise `GenreError` for a run whose model orders no lists."""
    name = name_of(config.learn.fit)
    if config.model.formulation.reads != "pairs" or config.pipeline.rerank is None:
        raise ConfigError(
            [f"learn.fit: {name} trains a model that re-ranks; it needs model.formulation: cross and pipeline.rerank, "
             "or take doubly_robust"]
        )  # fmt: skip
    for stage, command in (("model", "train"), ("rank", "rank")):
        if not run.path(stage).exists():
            raise RunError(f"{run.folder}: {stage}/ is missing; run 'genre {command} {run.folder}' first")


def _begun(run: Run, config: Config, root: Path) -> Run:
    """A run with the data, the model and the ranking of another; the data, which never change, are shared."""
    shutil.rmtree(root, ignore_errors=True)
    target = root / config.name
    target.mkdir(parents=True)
    for one in KEPT:
        source = run.path(one)
        if source.is_dir():
            copy = _linked if one == "data" else shutil.copy2
            shutil.copytree(source, target / one, copy_function=copy, ignore=shutil.ignore_patterns("checkpoint"))
        else:
            shutil.copy2(source, target / one)
    return Run.create(config, root)


def _linked(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        # The file system knows no hard links.
        shutil.copy2(source, target)
