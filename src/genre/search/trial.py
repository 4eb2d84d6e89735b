"""What a search has workers do: a trial, an estimate, the last measurement. Each is a function of plain data and a
folder, so that it runs in this process, another one, or on another machine, and gives plain data back.

    search/
      data/            what was prepared, without its test part: what trials cannot see they cannot be chosen by
      models/<key>/    a training of each model, train and seed; trials that have these in common share it
      trials/0007/     config.json, trial.json, units.npz, log.txt, links to data and model, rank/ where it is asked for
      winner/ defaults/    whole runs on all data, made at the end
"""

from __future__ import annotations

import fcntl
import json
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import TypeAdapter

from genre.config import Config
from genre.curves import Watch
from genre.data import Dataset
from genre.files import digest, replacing, write_json
from genre.run import Run
from genre.searchsection import PIPELINE

RESULT = "trial.json"


def withhold(source: Path, folder: Path) -> Dataset:
    """A copy of prepared data without the rows of the test part; as it was made before where the data are the same."""
    data = Dataset.load(source)
    of = folder.with_name("data_of.json")
    if of.exists() and json.loads(of.read_text(encoding="utf-8")) == data.hash and (folder / "manifest.json").exists():
        return Dataset.load(folder)
    parts = np.array(data.interactions["part"].to_pylist(), dtype=object)
    manifest = {name: value for name, value in data.manifest.items() if name not in ("files", "hash", "format")}
    kept = replace(data, interactions=data.interactions.filter((parts != "test").tolist()), manifest=manifest)
    kept.save(folder)
    write_json(of, data.hash)
    return Dataset.load(folder)


def trial(values: dict[str, Any], folder: str, objectives: list[str], watch: Watch | None = None) -> dict[str, Any]:
    """Train a configuration and measure it on validation; a trial that has its result already gives it again.

    ``folder`` lies in the ``trials/`` of a search. Raises `GenreError` where a stage does, and what ``watch`` raises.
    """
    place = Path(folder)
    key = digest([values, objectives])
    if (known := finished(place, key)) is not None:
        return known
    place.mkdir(parents=True, exist_ok=True)
    with alone(place / "lock"):
        config = replace(TypeAdapter(Config).validate_python(values), name=place.name, track=[])
        began = time.perf_counter()
        model = _trained(config, place.parent.parent, watch)
        had = round(time.perf_counter() - began, 3)
        run = Run.create(config, place.parent)
        _link(run.path("data"), place.parent.parent / "data")
        _link(run.path("model"), model.path("model"))
        if PIPELINE in objectives:
            from genre.rank import rank

            rank(config, run)
        result = {"key": key, "model_seconds": had, **_measured(config, run, model, objectives)}
        write_json(place / RESULT, result)
    return result


def finished(folder: Path, key: str | None = None) -> dict[str, Any] | None:
    """What a trial came to, if it came to its end."""
    path = folder / RESULT
    found = json.loads(path.read_text(encoding="utf-8")) if path.exists() else None
    return found if found is not None and key in (None, found["key"]) else None


def _measured(config: Config, run: Run, model: Run, objectives: list[str]) -> dict[str, Any]:
    from genre.search.measures import objectives_of

    values, units = objectives_of(config, run, objectives)
    if units:
        with replacing(run.folder / "units.npz") as aside, aside.open("wb") as file:
            np.savez_compressed(file, **units)  # pyright: ignore[reportArgumentType]
    training = json.loads((run.path("model") / "training.json").read_text(encoding="utf-8"))
    # JSON has no NaN; a value that is missing fails the trial.
    finite = {name: value if np.isfinite(value) else None for name, value in values.items()}
    epochs = sum(training["epochs"].values())
    return {
        "values": finite,
        "train_seconds": training["seconds"],
        "epochs": epochs,
        "trainable_parameters": training["trainable_parameters"],
        "peak_rss_mb": model.manifest["stages"]["model"]["peak_rss_mb"],
        "model": model.folder.name,
    }


def _trained(config: Config, home: Path, watch: Watch | None) -> Run:
    """The run that holds the model of a configuration, trained unless another trial has done it."""
    from genre.train import train

    sections = TypeAdapter(Config).dump_python(config, mode="json")
    name = digest({part: sections[part] for part in ("model", "train", "seed")})[:20]
    run = Run.create(replace(config, name=name), home / "models")
    with alone(run.folder / "lock"):
        _link(run.path("data"), home / "data")
        train(run.config, run, watch)
        shutil.rmtree(run.path("model") / "checkpoint", ignore_errors=True)
    return run


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Inside, no other process is inside with the same file. A process that dies leaves it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _link(path: Path, target: Path) -> None:
    if not path.is_symlink():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(target.resolve(), target_is_directory=True)


def estimate(values: dict[str, Any], folder: str, watch: Watch | None = None) -> dict[str, Any]:
    """Most seconds that the training of a configuration takes, from a few of its steps, and its most epochs."""
    from genre.fitting import Fitter
    from genre.textfitting import TextFitter

    config = TypeAdapter(Config).validate_python(values)
    data = Dataset.load(Path(folder) / "data")
    fitter = (Fitter if config.model.formulation.reads == "items" else TextFitter)(config, data)
    steps, phases = fitter.steps_per_epoch(), fitter.phases()
    seconds = sum(fitter.probe(one) * steps * fitter.most_epochs(one) for one in phases if fitter.most_epochs(one))
    return {"seconds": seconds, "epochs": sum(fitter.most_epochs(one) for one in phases)}


def final(values: dict[str, Any], folder: str, watch: Watch | None = None) -> dict[str, Any]:
    """A whole run of a configuration on all data: here, and nowhere else in a search, the test part is read."""
    from genre.evaluate import evaluate
    from genre.rank import rank
    from genre.train import train

    place = Path(folder)
    config = replace(TypeAdapter(Config).validate_python(values), name=place.name)
    run = Run.create(config, place.parent)
    _link(run.path("data"), place.parent.parent / "data")
    train(config, run, watch)
    if config.model.formulation.reads != "rows":
        rank(config, run)
    evaluate(config, run)
    return {"folder": str(place)}


def baseline(
    values: dict[str, Any], folder: str, source: str, trials: int, objective: str, watch: Watch | None = None
) -> dict[str, Any]:
    """One baseline, searched on validation with so many trials; see `genre.search.baselines`."""
    from genre.search.baselines import search_baseline

    config = replace(TypeAdapter(Config).validate_python(values), name="baselines", track=[])
    run = Run.create(config, Path(folder))
    _link(run.path("data"), Path(folder) / "data")
    return {"trials": search_baseline(config, run, source, trials, objective)}
