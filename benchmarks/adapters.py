"""Every adapter on the same texts: what it trains, what a step costs beside full fine-tuning, and what it brings.

    python benchmarks/adapters.py                      # 3 seeds, 500 training texts of Women's Clothing
    python benchmarks/adapters.py --texts 4000 --adapters lora full frozen

Each adapter and seed is a process of its own, so that peak memory is its own; the order is shuffled, so that a noisy
hour hits none alone. The few texts are even over the stars, which moves the mean of an amount: so what is measured is
order (Spearman, AUC). ``--tune`` tries learning rates on validation texts; test texts choose nothing.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
CONFIG = HERE.parent / "configs" / "reviews.yaml"
ALL = "query, key, value, output, up, down"
ADAPTERS: dict[str, dict[str, str]] = {
    "frozen": {},
    "full": {},
    "top_layers": {"layers": "2"},
    "bitfit": {"layers": "6"},
    "lora": {"layers": "6", "r": "8", "targets": f"[{ALL}]"},
    "dora": {"layers": "6", "r": "8", "targets": f"[{ALL}]"},
    "adalora": {"layers": "6", "targets": f"[{ALL}]"},
    "ia3": {"layers": "6"},
    "bottleneck": {"layers": "6"},
    "prefix": {"layers": "6"},
    "prompt": {},
    "side": {},
}
"""Settings of each adapter, as overrides of the configuration."""
RATES = {
    "full": 2e-4, "top_layers": 9e-4, "bitfit": 9e-3, "lora": 3e-3, "dora": 3e-3, "adalora": 9e-3,
    "ia3": 9e-2, "bottleneck": 9e-3, "prefix": 9e-3, "prompt": 9e-2, "side": 3e-3,
}  # fmt: skip
"""Learning rates of the language model: for each adapter the best on validation of four, each three times the last."""
TRIED = (1 / 3, 1.0, 3.0)
"""Factors on these that ``--tune`` tries."""
EPOCHS = 4


def main() -> None:
    """Run all, print the table, keep the JSON and the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=int, default=500, help="training texts")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--adapters", nargs="*", default=list(ADAPTERS))
    parser.add_argument("--tune", action="store_true", help="try three rates each on validation, one seed")
    parser.add_argument("--out", type=Path, default=HERE / "results" / "adapters.json")
    parser.add_argument("--one", nargs=3, metavar=("ADAPTER", "SEED", "RATE"), help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.one:
        adapter, seed, rate = chosen.one
        print(json.dumps(measure(adapter, int(seed), float(rate), chosen.texts, chosen.tune)))
        return
    jobs = [(name, seed, RATES.get(name, 1e-3)) for name in chosen.adapters for seed in range(1, chosen.seeds + 1)]
    if chosen.tune:
        jobs = [(name, 1, RATES.get(name, 1e-3) * f) for name in chosen.adapters if name != "frozen" for f in TRIED]
    random.Random(0).shuffle(jobs)
    found = [kept(*job, chosen.texts, chosen.tune, chosen.out.with_suffix(".jsonl")) for job in jobs]
    if chosen.tune:
        for one in sorted(found, key=lambda one: (one["adapter"], one["rate"])):
            print(f"{one['adapter']:12} rate {one['rate']:.0e}  valid AUC {one['valid']['recommended.label_auc']:.4f}")
        return
    table = summary(found)
    chosen.out.write_text(
        json.dumps({"texts": chosen.texts, "epochs": EPOCHS, "runs": found, "table": table}, indent=1)
    )
    show(table)
    draw(table, HERE.parent / "docs" / "adapters.svg")
    chosen.out.with_suffix(".jsonl").unlink()


def kept(adapter: str, seed: int, rate: float, texts: int, tune: bool, store: Path) -> dict[str, Any]:
    """What ``store`` has of a measurement, else the measurement, which is then kept there: a killed run goes on."""
    key = {"adapter": adapter, "seed": seed, "rate": rate, "texts": texts, "tune": tune, "epochs": EPOCHS}
    lines = store.read_text(encoding="utf-8").splitlines() if store.exists() else []
    for line in map(json.loads, lines):
        if line["key"] == key:
            return line["found"]
    found = apart(adapter, seed, rate, texts, tune)
    with store.open("a", encoding="utf-8") as file:
        file.write(json.dumps({"key": key, "found": found}) + "\n")
    return found


def apart(adapter: str, seed: int, rate: float, texts: int, tune: bool) -> dict[str, Any]:
    """One measurement in a process of its own."""
    command = [sys.executable, __file__, "--texts", str(texts), "--one", adapter, str(seed), str(rate)]
    command += ["--tune"] if tune else []
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{adapter}, seed {seed}: {done.stderr[-2000:]}")
    found = json.loads(done.stdout.splitlines()[-1])
    print(f"{adapter:12} seed {seed}  rate {rate:.0e}  {found.get('test') or found['valid']}", flush=True)
    return found


def measure(adapter: str, seed: int, rate: float, texts: int, tune: bool) -> dict[str, Any]:
    """Train with one adapter and seed, a fixed number of epochs; time the steps, judge on validation and test texts."""
    from genre.configfile import load
    from genre.data import Dataset
    from genre.prepare import prepare
    from genre.run import Run
    from genre.textfitting import TextFitter

    settings = "".join(f", {name}: {value}" for name, value in ADAPTERS[adapter].items())
    overrides = [
        f"seed={seed}", f"train.shots={texts}", f"model.adapter={{type: {adapter}{settings}}}",
        f"train.lr.backbone={rate}", "train.warmup_epochs=8", f"train.epochs={EPOCHS}", "train.batch_size=16",
        "model.max_tokens=64",
    ]  # fmt: skip
    config = load(CONFIG, overrides)
    with tempfile.TemporaryDirectory() as place:
        run = Run.create(config, Path(place))
        prepare(config, run)
        data = Dataset.load(run.path("data"))
        fitter = TextFitter(config, data)
        seconds = 0.0
        for phase in fitter.phases():
            steppers = fitter.steppers(phase)
            for number in range(1, fitter.most_epochs(phase) + 1):
                started = time.perf_counter()
                fitter.epoch(phase, number, steppers, lambda done: None)
                if phase == "finetune" and number > 1:  # the first epoch warms caches up
                    seconds += time.perf_counter() - started
        quality = {part: judge(fitter, part) for part in (["valid"] if tune else ["test"])}
    steps = fitter.steps_per_epoch() * (EPOCHS - 1)
    return {
        "adapter": adapter,
        "seed": seed,
        "rate": rate,
        "trained": sum(weight.numel() for _, weight in fitter.text.opened()),
        "seconds_per_1000_steps": 1000 * seconds / steps,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        **quality,
    }


def judge(fitter: Any, part: str, most: int = 1500) -> dict[str, float]:
    """Measures of the first ``most`` texts of a part."""
    import numpy as np

    from genre.component import Slot
    from genre.textvalidation import judged

    sheet = fitter.maker.part(part)
    sheet = sheet.take(np.arange(min(most, len(sheet))))
    model = fitter.trained()
    answers = model.answers(sheet, fitter.most_bytes)
    found = {}
    for head, metric in (("stars", "spearman"), ("recommended", "label_auc")):
        outcome = judged(model.heads[head], head, sheet, answers[head], model.model.labels)
        found[f"{head}.{metric}"] = float(Slot("metrics").build(metric).measure(outcome)[metric])
    return found


def summary(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A row an adapter: medians of cost, mean and 95 % interval (t) of quality over the seeds."""
    whole = {one["seed"]: one for one in found if one["adapter"] == "full"}
    full = [one["seconds_per_1000_steps"] for one in whole.values()]
    rows = []
    for name in dict.fromkeys(one["adapter"] for one in found):
        mine = [one for one in found if one["adapter"] == name]
        cost = statistics.median(one["seconds_per_1000_steps"] for one in mine)
        rows.append(
            {
                "adapter": name,
                "trained": mine[0]["trained"],
                "relative_time": cost / statistics.median(full) if full else None,
                "peak_mb": statistics.median(one["peak_mb"] for one in mine),
                **{key: interval([one["test"][key] for one in mine]) for key in mine[0]["test"]},
                "to_full": interval([auc(one) - auc(whole[one["seed"]]) for one in mine if one["seed"] in whole]),
            }
        )
    return sorted(rows, key=lambda row: -row["recommended.label_auc"][0])


def auc(one: dict[str, Any]) -> float:
    """What adapters are compared by."""
    return one["test"]["recommended.label_auc"]


def interval(values: list[float]) -> tuple[float, float, float]:
    """Mean, and the ends of its 95 % interval by Student's t."""
    from scipy.stats import t

    if not values:
        return math.nan, math.nan, math.nan
    mean = statistics.mean(values)
    if len(values) < 2:
        return mean, mean, mean
    half = t.ppf(0.975, len(values) - 1) * statistics.stdev(values) / len(values) ** 0.5
    return mean, mean - half, mean + half


def show(table: list[dict[str, Any]]) -> None:
    """Print the table."""
    head = ("stars Spearman", "recommended AUC", "AUC less that of full")
    print(f"{'adapter':12} {'trained':>11} {'time/full':>9} {'peak MB':>8}  {'  '.join(f'{one:24}' for one in head)}")
    for row in table:
        cells = [
            f"{row[key][0]:.4f} [{row[key][1]:.4f}, {row[key][2]:.4f}]"
            for key in ("stars.spearman", "recommended.label_auc", "to_full")
        ]
        time_ = "-" if row["relative_time"] is None else f"{row['relative_time']:.2f}"
        print(f"{row['adapter']:12} {row['trained']:>11,} {time_:>9} {row['peak_mb']:>8.0f}  {'  '.join(cells)}")


def draw(table: list[dict[str, Any]], path: Path) -> None:
    """Cost against quality: trained weights to the right, AUC upwards."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(8, 4.5))
    for row in table:
        mean, low, high = row["recommended.label_auc"]
        at = max(row["trained"], 1000)
        axes.errorbar(at, mean, yerr=[[mean - low], [high - mean]], fmt="o", capsize=3)
        axes.annotate(row["adapter"], (at, mean), textcoords="offset points", xytext=(6, 4))
    axes.set(xscale="log", xlabel="weights trained in the language model", ylabel="AUC of recommended on test texts")
    axes.set_title("What each adapter costs and brings (3 seeds, 95 % intervals)")
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})


if __name__ == "__main__":
    main()
