"""Searchers beside chance at the same budget, what stopping early saves, and what the machinery costs.

    python benchmarks/search.py [benchmarks/search/movielens-100k.yaml] [--trials N] [--seeds N] [--searchers NAME ...]
                                [--pruners NAME ...] [--pruned NAME ...] [--set PATH=VALUE] [--quick]

Every search is done for each seed, which moves what is drawn; split and training have one seed, so that every setting
is one number, trained once and looked up after that (see `searchbench.table`). All begin at the same defaults. The
curve is the best on validation after so many trials, with the 95 % t interval over seeds. A searcher is *better* than
chance only where the interval of its difference, paired by seed, excludes 0: at the end, and (`anytime`) in the mean
over all trials. A pruner is compared in the same way with no pruning of the same searcher, by the best that is found
and by the epochs that are trained. The machinery is timed by trials that do nothing. At the end, and for the settings
that won alone, the test part is read. Everything is kept below --root, so that a benchmark that was cut short goes on.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from genre.component import names
from genre.figures import SERIES, alone, as_svg, drawing
from genre.files import write_json
from genre.run import machine, versions
from searchbench.bench import Bench, winner

CHANCE = "random"


def main(arguments: Sequence[str] | None = None) -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("config", type=Path, nargs="?", default=Path("benchmarks/search/movielens-100k.yaml"))
    options.add_argument("--trials", type=int, help="40 unless told")
    options.add_argument("--seeds", type=int, help="seeds 1 to so many; 5 unless told")
    options.add_argument(
        "--searchers",
        nargs="+",
        help="all that can search the space, unless told; settings as in a file: '{type: tpe, start: 5}'",
    )
    options.add_argument("--pruners", nargs="+", help="all, unless told; likewise")
    options.add_argument("--pruned", nargs="+", default=[CHANCE, "tpe"], help="searchers that pruners are tried with")
    options.add_argument("--set", action="append", default=[], metavar="PATH=VALUE", help="for every search")
    options.add_argument("--out", type=Path)
    options.add_argument("--root", type=Path, default=Path("runs/benchmark-search"))
    options.add_argument("--quick", action="store_true", help="a few trials of two seeds, to see that it runs")
    chosen = options.parse_args(arguments)
    trials, seeds = chosen.trials or (3 if chosen.quick else 40), chosen.seeds or (2 if chosen.quick else 5)
    bench = Bench.of(chosen.config, chosen.set, chosen.root, trials)
    searchers = chosen.searchers or ([CHANCE, "tpe"] if chosen.quick else bench.fitting())
    pruners = chosen.pruners or (["median"] if chosen.quick else [one for one in names("pruners") if one != "none"])
    pruned = [one for one in chosen.pruned if one in searchers]
    ways = [(one, "none") for one in dict.fromkeys([CHANCE, *searchers])]
    ways += [(searcher, pruner) for searcher in pruned for pruner in pruners]
    found: dict[str, list[dict[str, Any]]] = {}
    compared: dict[str, dict[str, Any]] = {}
    for searcher, pruner in ways:
        key, beside = f"{searcher}, {pruner}", f"{CHANCE if pruner == 'none' else searcher}, none"
        found[key] = [bench.search(searcher, pruner, seed) for seed in range(1, seeds + 1)]
        compared[key] = {"beside": beside, **against(found[key], found[beside])}
        print(line(key, found[key], compared[key]), flush=True)
    overhead = bench.machinery()
    print(f"machinery: {1000 * overhead:.0f} ms a trial; {len(bench.table.rows)} settings trained")
    result = {**bench.facts(), "trials": trials, "machine": machine(), "versions": versions()}
    result |= {"searches": {key: [kept(run) for run in runs] for key, runs in found.items()}}
    result |= {"compared": compared, "overhead_seconds": overhead}
    result |= {"luck": bench.luck(), "test": bench.test(found)}
    out = chosen.out or Path("benchmarks/results") / f"search-{chosen.config.stem}.json"
    write_json(out, result)
    out.with_suffix(".svg").write_text(picture({key: runs for key, runs in found.items() if key.endswith("none")}))
    print(out)


def kept(run: dict[str, Any]) -> dict[str, Any]:
    """What a reader of the results asks of a search: its curve, its epochs, and what won."""
    return {name: value for name, value in run.items() if name not in ("chosen", "states")} | {"winner": winner(run)}


def against(runs: list[dict[str, Any]], others: list[dict[str, Any]]) -> dict[str, Any]:
    """What one way comes to less what another does, paired by seed: the best, its mean over the trials, epochs."""
    up = runs[0]["larger"]
    ends = [a["best"][-1] - b["best"][-1] for a, b in zip(runs, others, strict=True)]
    ways = [mean_best(a) - mean_best(b) for a, b in zip(runs, others, strict=True)]
    share = [a["epochs_trained"] / b["epochs_trained"] for a, b in zip(runs, others, strict=True)]
    return {
        "best": judged(ends, up),
        "anytime": judged(ways, up),
        "epochs": {"mean": float(np.mean(share)), "ci95": list(interval(share))},
    }


def mean_best(run: dict[str, Any]) -> float:
    """The best so far in the mean over the trials, those before the first that came to its end left out."""
    return float(np.mean([value for value in run["best"] if value is not None]))


def judged(apart: list[float], up: bool) -> dict[str, Any]:
    """Differences in the mean, their interval, and what may be said of them."""
    low, high = interval(apart)
    better = "better" if (low > 0) == up else "worse"
    verdict = better if low > 0 or high < 0 else "no difference"
    return {"difference": float(np.mean(apart)), "ci95": [low, high], "verdict": verdict}


def interval(values: list[float]) -> tuple[float, float]:
    """The 95 % t interval of a mean."""
    n, mean = len(values), float(np.mean(values))
    half = float(stats.t.ppf(0.975, n - 1)) * float(np.std(values, ddof=1)) / math.sqrt(n) if n > 1 else math.inf
    return mean - half, mean + half


def line(key: str, runs: list[dict[str, Any]], compared: dict[str, Any]) -> str:
    """A row of the table."""
    best = [run["best"][-1] for run in runs]
    said = []
    for name in ("best", "anytime"):
        one = compared[name]
        said.append(f"{name} {one['difference']:+.4f} [{one['ci95'][0]:+.4f}, {one['ci95'][1]:+.4f}] {one['verdict']}")
    epochs = f"epochs {compared['epochs']['mean']:.2f}"
    return f"{key:18} {np.mean(best):.4f}  beside {compared['beside']}: {'  '.join(said)}  {epochs}"


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
