"""How many labelled texts it takes: learning curves of a model of texts beside TF-IDF on the same few.

    python benchmarks/shots.py [configs/reviews.yaml] [--shots N ...] [--draws N] [--set PATH=VALUE] [--quick]

Every point is a whole run for each draw. A draw is a seed: another split, other shots and another start of the heads.
Both the model and TF-IDF get so many training texts, and as many to choose by (when to stop, how strong to regularise);
both are judged on the whole test part. Few texts make short epochs, so epochs are added until a phase has ``--steps``
steps, and patience with them. The table gives means over the draws with their 95 % t intervals, and the difference to
TF-IDF, paired by draw.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from genre.config import Config
from genre.configfile import load
from genre.evaluate import evaluate
from genre.prepare import prepare
from genre.run import Run, machine, versions
from genre.train import train

SHOTS = (16, 64, 256)
SYSTEMS = ("model", "model_before", "tfidf", "global_mean")
QUICK = ["train.token_budget=1024", "evaluate.bootstrap=20", "evaluate.examples=0"]


def main(arguments: Sequence[str] | None = None) -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("config", type=Path, nargs="?", default=Path("configs/reviews.yaml"))
    options.add_argument("--shots", type=int, nargs="+")
    options.add_argument("--draws", type=int, help="seeds 1 to so many; 5 unless told")
    options.add_argument("--steps", type=int, help="least steps of a phase; 150 unless told")
    options.add_argument("--set", action="append", default=[], metavar="PATH=VALUE", help="for every run")
    options.add_argument("--metric", help="to print, as head.metric; that of train.early_stopping unless told")
    options.add_argument("--out", type=Path)
    options.add_argument("--root", type=Path, default=Path("runs"))
    options.add_argument("--quick", action="store_true", help="two small points of two draws, to see that it runs")
    chosen = options.parse_args(arguments)
    shots = chosen.shots or ((8, 16) if chosen.quick else SHOTS)
    draws = chosen.draws or (2 if chosen.quick else 5)
    steps = chosen.steps or (4 if chosen.quick else 150)
    given = [*(QUICK if chosen.quick else []), *chosen.set]
    metric = chosen.metric or load(chosen.config, given).train.early_stopping.metric
    print(f"{metric}, mean over {draws} draws with its 95 % interval")
    points = []
    for n in shots:
        runs = [one_run(chosen.config, given, n, seed, steps, chosen.root) for seed in range(1, draws + 1)]
        points.append({"shots": n, "runs": runs, "summary": summary(runs, metric)})
        print(row(n, points[-1]["summary"]), flush=True)
    out = chosen.out or Path("benchmarks/results") / f"shots-{chosen.config.stem}.json"
    out.parent.mkdir(parents=True, exist_ok=True)
    facts = {"metric": metric, "steps": steps, "set": given, "points": points}
    facts |= {"machine": machine(), "versions": versions()}
    out.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")


def one_run(file: Path, given: list[str], shots: int, seed: int, steps: int, root: Path) -> dict[str, Any]:
    """One draw: what every system scores on test, and the seconds that training took."""
    config = prolonged(file, [*given, f"train.shots={shots}", f"seed={seed}"], shots, seed, steps)
    run = Run.create(config, root)
    prepare(config, run)
    train(config, run)
    evaluate(config, run)
    systems = json.loads((run.path("evaluate") / "metrics.json").read_text(encoding="utf-8"))["systems"]
    scores = {name: {key: one["value"] for key, one in systems[name].items()} for name in SYSTEMS if name in systems}
    training = json.loads((run.path("model") / "training.json").read_text(encoding="utf-8"))
    return {"seed": seed, "scores": scores, "seconds": training["seconds"], "texts": training["interactions"]}


def prolonged(file: Path, given: list[str], shots: int, seed: int, steps: int) -> Config:
    """The configuration with epochs enough for ``steps`` steps of a phase, in a run of its own."""
    plain = load(file, given).train
    least = math.ceil(steps / math.ceil(shots / plain.batch_size))
    epochs = {name: max(getattr(plain, name), least) for name in ("warmup_epochs", "epochs") if getattr(plain, name)}
    patience = max(plain.early_stopping.patience, least // 3)
    more = [f"train.{name}={n}" for name, n in epochs.items()] + [f"train.early_stopping.patience={patience}"]
    return load(file, [*given, *more, f"name={file.stem}-{shots}-shots-{seed}"])


def summary(runs: list[dict[str, Any]], metric: str) -> dict[str, dict[str, Any]]:
    """Of every system the mean of ``metric`` and its interval; under ``gain`` those of the model less TF-IDF."""
    found = {name: [run["scores"].get(name, {}).get(metric) for run in runs] for name in SYSTEMS}
    pairs = zip(found["model"], found["tfidf"], strict=True)
    found["gain"] = [None if a is None or b is None else a - b for a, b in pairs]
    return {name: interval([value for value in values if value is not None]) for name, values in found.items()}


def interval(values: list[float]) -> dict[str, Any]:
    """The mean of some draws with its 95 % t interval; None where there are too few."""
    if not values:
        return {"value": None, "ci95": None, "draws": 0}
    mean, n = float(np.mean(values)), len(values)
    half = float(stats.t.ppf(0.975, n - 1) * np.std(values, ddof=1) / math.sqrt(n)) if n > 1 else None
    return {"value": mean, "ci95": None if half is None else [mean - half, mean + half], "draws": n}


def row(shots: int, summary: dict[str, dict[str, Any]]) -> str:
    """One line of the table."""
    cells = [f"{shots:5} shots"]
    for name, one in summary.items():
        ends = "" if one["ci95"] is None else f" [{one['ci95'][0]:.3f}, {one['ci95'][1]:.3f}]"
        cells.append(f"{name} {'-' if one['value'] is None else format(one['value'], '.3f')}{ends}")
    return "  ".join(cells)


if __name__ == "__main__":
    main()
