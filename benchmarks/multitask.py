"""One model for all tasks beside a model for each: quality on the same test texts, paired, and what each cost.

    python benchmarks/multitask.py                         # Women's Clothing, 4,000 training texts
    python benchmarks/multitask.py --texts 500 --set train.epochs=1
    python benchmarks/multitask.py --balance fixed uncertainty pcgrad

Intervals are bootstrap intervals over the test texts; one seed a run. Test texts choose nothing.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
CONFIG = HERE.parent / "configs" / "reviews.yaml"


def main() -> None:
    """Train, compare, print, keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, default=CONFIG)
    parser.add_argument("--texts", type=int, default=4000, help="training texts; 0 for all")
    parser.add_argument("--balance", nargs="*", default=["fixed"], help="balancers of the model for all tasks")
    parser.add_argument("--set", nargs="*", default=[], help="further overrides, as genre takes them")
    parser.add_argument("--out", type=Path, default=HERE / "results" / "multitask.json")
    chosen = parser.parse_args()
    from genre.configfile import load

    shots = [f"train.shots={chosen.texts}"] if chosen.texts else []
    whole = load(chosen.config, [*shots, *chosen.set])
    together = {balance: trained(chosen.config, [*shots, *chosen.set], None, balance) for balance in chosen.balance}
    alone = {head: trained(chosen.config, [*shots, *chosen.set], head, "fixed") for head in whole.model.heads}
    seconds = sum(one["seconds"] for one in alone.values())
    rows = []
    for balance, found in together.items():
        print(f"\nall tasks, {balance}: {found['seconds']:.0f} s; one model a task: {seconds:.0f} s in all")
        for head in whole.model.heads:
            rows += [{"balance": balance, **row} for row in beside(whole, head, found, alone[head])]
    costs = {"together": {b: f["seconds"] for b, f in together.items()}, "alone": seconds}
    chosen.out.write_text(json.dumps({"texts": chosen.texts, "seconds": costs, "rows": rows}, indent=1))


def trained(path: Path, overrides: list[str], head: str | None, balance: str) -> dict[str, Any]:
    """Train on all tasks, or on one; what the test texts were answered, and the seconds of training."""
    from dataclasses import replace

    from genre.component import Slot
    from genre.configfile import load
    from genre.data import Dataset
    from genre.prepare import prepare
    from genre.run import Run
    from genre.sheets import SheetMaker
    from genre.textmodel import TrainedTexts
    from genre.train import train

    config = load(path, overrides)
    model = replace(config.model, balance=Slot("balancers").build(balance))
    training = config.train
    if head is not None:
        model = replace(model, heads={head: model.heads[head]})
        watched = {"binary": "label_auc", "regression": "rmse", "multiclass": "accuracy"}[model.heads[head].predicts]
        training = replace(training, early_stopping=replace(training.early_stopping, metric=f"{head}.{watched}"))
    config = replace(config, model=model, train=training)
    with tempfile.TemporaryDirectory() as place:
        run = Run.create(config, Path(place))
        prepare(config, run)
        started = time.perf_counter()
        train(config, run)
        seconds = time.perf_counter() - started
        data = Dataset.load(run.path("data"))
        answering = TrainedTexts.load(run.path("model") / "finetuned", data)
        sheet = SheetMaker(config.model, answering.loaded, data, config.seed).part("test")
        answers = answering.answers(sheet)
    return {"sheet": sheet, "answers": answers, "labels": answering.model.labels, "seconds": seconds}


def beside(config: Any, head: str, together: dict[str, Any], alone: dict[str, Any]) -> list[dict[str, Any]]:
    """A head of the model for all beside the model for it alone, on every metric that judges it."""
    from genre.comparisons import Resamples, compare
    from genre.taskmeasures import measures_of_task
    from genre.textvalidation import judged

    task = config.model.heads[head]
    judges = [metric for metric in config.evaluate.metrics if metric.needs == task.predicts]
    measured = []
    for found in (together, alone):
        outcome = judged(task, head, found["sheet"], found["answers"][head], found["labels"])
        resamples = Resamples.of(outcome.group, 500, 7)
        measured.append(dict(measures_of_task(outcome, judges, resamples)))
    rows = []
    for judge in judges:
        for key in judge.measure(outcome):
            if judge.larger_is_better is None or measured[0][key].value is None:
                continue
            verdict = compare(measured[0][key], measured[1][key], bool(judge.larger_is_better))
            if verdict is None:
                continue
            values = [one[key].value for one in measured]
            rows.append({"head": head, "metric": key, "together": values[0], "alone": values[1], **verdict})
            low, high = verdict["ci95"]
            print(f"  {head}.{key:18} together {values[0]:.4f}  alone {values[1]:.4f}  "
                  f"{verdict['difference']:+.4f} [{low:+.4f}, {high:+.4f}] {verdict['verdict']}")  # fmt: skip
    return rows


if __name__ == "__main__":
    main()
