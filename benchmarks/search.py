"""Searchers beside chance at the same budget, what stopping early saves, and what the machinery costs.

    python benchmarks/search.py [configs/search.yaml] [--trials N] [--seeds N] [--searchers NAME ...]
                                [--pruners NAME ...] [--workers N] [--set PATH=VALUE] [--quick]

Every search is done for each seed: the seed moves what is drawn and the start of every training, the split stays. The
curve is the best on validation after so many trials, with the 95 % t interval over seeds. A searcher is *better* than
chance only where the interval of its difference, paired by seed, excludes 0. Pruners are compared with none in the same
way, by the best that is found and by the epochs that are trained. The machinery is timed by trials that do nothing.
Searches are kept below --root, so that a run that was cut short goes on.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from genre.component import names
from genre.configfile import read_space
from genre.figures import SERIES, alone, as_svg, drawing
from genre.run import Run, machine, versions
from genre.search.crew import LocalWorkers
from genre.search.ending import saved
from genre.search.loop import Search

NOTHING = 42
"""Trials that do nothing, to time the machinery."""
CHANCE = "random"


def nothing(values: dict[str, Any], folder: str, objectives: list[str], watch: Any) -> dict[str, Any]:
    """A trial that costs nothing and comes to what its first number is."""
    return {"values": dict.fromkeys(objectives, values["train"]["lr"]["rest"]), "epochs": 1, "train_seconds": 0.0}


def main(arguments: Sequence[str] | None = None) -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("config", type=Path, nargs="?", default=Path("configs/search.yaml"))
    options.add_argument("--trials", type=int, help="40 unless told")
    options.add_argument("--seeds", type=int, help="seeds 1 to so many; 5 unless told")
    options.add_argument("--searchers", nargs="+", help="all that can search the space, unless told")
    options.add_argument("--pruners", nargs="+", help="all, unless told; tried with chance")
    options.add_argument("--workers", type=int, default=1)
    options.add_argument("--set", action="append", default=[], metavar="PATH=VALUE", help="for every search")
    options.add_argument("--out", type=Path)
    options.add_argument("--root", type=Path, default=Path("runs/benchmark-search"))
    options.add_argument("--quick", action="store_true", help="a few trials of two seeds, to see that it runs")
    chosen = options.parse_args(arguments)
    trials, seeds = chosen.trials or (3 if chosen.quick else 40), chosen.seeds or (2 if chosen.quick else 5)
    searchers = chosen.searchers or ([CHANCE, "tpe"] if chosen.quick else fitting(chosen.config, chosen.set))
    searchers = [CHANCE, *(one for one in searchers if one != CHANCE)]
    pruners = chosen.pruners or (["median"] if chosen.quick else [one for one in names("pruners") if one != "none"])
    ways = [(searcher, "none") for searcher in searchers] + [(CHANCE, pruner) for pruner in pruners]
    found: dict[str, list[dict[str, Any]]] = {}
    for searcher, pruner in ways:
        given = [f"search.searcher={searcher}", f"search.pruner={pruner}", f"search.trials={trials}", *chosen.set]
        key = f"{searcher}, {pruner}"
        found[key] = [
            one_search(chosen.config, given, seed, chosen.root, chosen.workers) for seed in range(1, seeds + 1)
        ]
        print(line(key, found[key], found[f"{CHANCE}, none"]), flush=True)
    overhead = machinery(chosen.config, chosen.set, chosen.root)
    print(f"machinery: {1000 * overhead:.0f} ms a trial")
    out = chosen.out or Path("benchmarks/results") / f"search-{chosen.config.stem}.json"
    out.parent.mkdir(parents=True, exist_ok=True)
    facts = {"config": str(chosen.config), "trials": trials, "machine": machine(), "versions": versions()}
    compared = {key: against(runs, found[f"{CHANCE}, none"]) for key, runs in found.items()}
    result = {**facts, "searches": found, "against_chance": compared, "overhead_seconds": overhead}
    out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    out.with_suffix(".svg").write_text(picture({key: runs for key, runs in found.items() if key.endswith("none")}))
    print(out)


def fitting(config: Path, given: list[str]) -> list[str]:
    """The searchers that can search a configuration's space."""
    from genre.component import Slot
    from genre.space import facts_of

    facts = facts_of(read_space(config, given).space, 1)
    return [name for name in names("searchers") if Slot("searchers").build(name).unfit(facts) is None]


def one_search(config: Path, given: list[str], seed: int, root: Path, workers: int, call: str = "") -> dict[str, Any]:
    """The trials of one search, in order: values, the best so far, epochs."""
    found = read_space(config, [*given, f"seed={seed}"])
    searcher, pruner = (text.partition("=")[2] for text in given[:2])
    split = found.config.data.seed if found.config.data.seed is not None else 7
    name = f"{config.stem}-{searcher}-{pruner}-{seed}"
    settled = replace(found.config, name=name, data=replace(found.config.data, seed=split))
    crew = LocalWorkers(workers)
    more = {"call": call} if call else {}
    began = time.perf_counter()
    try:
        trials = Search(settled, Run.create(settled, root), found.space, crew, lambda text: None, **more).run_trials()
    finally:
        crew.close()
    larger = trials.study.direction.name == "MAXIMIZE"
    values = [one.values[0] if one.state.name == "COMPLETE" else math.nan for one in trials.all()]
    worst = -math.inf if larger else math.inf
    known = np.array([worst if math.isnan(value) else value for value in values])
    best = (np.maximum if larger else np.minimum).accumulate(known)
    states = [one.state.name.lower() for one in trials.all()]
    return {
        "seed": seed,
        "larger": larger,
        "values": [None if math.isnan(value) else value for value in values],
        "best": [value if math.isfinite(value) else None for value in best.tolist()],
        "states": states,
        "seconds": round(time.perf_counter() - began, 1),
        **saved(trials.all()),
    }


def against(runs: list[dict[str, Any]], chance: list[dict[str, Any]]) -> dict[str, Any]:
    """The best of each search less that of chance, and the epochs trained as a share of chance's, paired by seed."""
    apart = [a["best"][-1] - b["best"][-1] for a, b in zip(runs, chance, strict=True)]
    share = [a["epochs_trained"] / b["epochs_trained"] for a, b in zip(runs, chance, strict=True)]
    low, high = interval(apart)
    up = runs[0]["larger"]
    clear = low > 0 or high < 0
    better = "better" if (low > 0) == up else "worse"
    return {
        "difference": float(np.mean(apart)),
        "ci95": [low, high],
        "verdict": better if clear else "no difference",
        "epochs": float(np.mean(share)),
        "epochs_ci95": list(interval(share)),
    }


def interval(values: list[float]) -> tuple[float, float]:
    """The 95 % t interval of a mean."""
    n, mean = len(values), float(np.mean(values))
    half = float(stats.t.ppf(0.975, n - 1)) * float(np.std(values, ddof=1)) / math.sqrt(n) if n > 1 else math.inf
    return mean - half, mean + half


def line(key: str, runs: list[dict[str, Any]], chance: list[dict[str, Any]]) -> str:
    """A row of the table."""
    best = [run["best"][-1] for run in runs]
    found = against(runs, chance)
    low, high = found["ci95"]
    beside = f"less chance {found['difference']:+.4f} [{low:+.4f}, {high:+.4f}] {found['verdict']}"
    return f"{key:22} best {np.mean(best):.4f}  {beside}  epochs {found['epochs']:.2f} of chance's"


def machinery(config: Path, given: list[str], root: Path) -> float:
    """Seconds that a trial takes which does nothing: asking, handing out, hearing, keeping."""
    import shutil

    place = root / "nothing"
    shutil.rmtree(place, ignore_errors=True)
    way = ["search.searcher=tpe", "search.pruner=none", *given]
    spent = [
        one_search(config, [*way, f"search.trials={n}", "train.lr.rest=1e-3"], 1, place, 1, "search:nothing")["seconds"]
        for n in (2, NOTHING)
    ]
    return max(0.0, spent[1] - spent[0]) / (NOTHING - 2)


def picture(found: dict[str, list[dict[str, Any]]]) -> str:
    """The best so far over trials, by searcher, with intervals over seeds."""
    with drawing("searchers", (7.6, 3.6)) as (figure, (axis,)):
        for i, (key, runs) in enumerate(found.items()):
            curves = np.array([[np.nan if value is None else value for value in run["best"]] for run in runs])
            at = np.arange(1, curves.shape[1] + 1)
            edges = np.array([interval(column.tolist()) for column in curves.T])
            colour = SERIES[i % len(SERIES)]
            axis.plot(at, curves.mean(0), color=colour, linewidth=1.6, label=key.partition(",")[0])
            if np.isfinite(edges).all():
                axis.fill_between(at, edges[:, 0], edges[:, 1], color=colour, alpha=0.12, linewidth=0)
        axis.set(xlabel="trials", ylabel="best on validation so far")
        axis.legend(fontsize=8.5)
        return alone(as_svg(figure))


if __name__ == "__main__":
    main()
