"""What each part brings: the shipped configuration, and the same with one part changed, on the same test users.

    python benchmarks/quality.py configs/quickstart.yaml [--variant NAME] [--set PATH=VALUE] [--out FILE]

Every variant is a whole run of its own (runs/<name>-<variant>; finished stages are not done again). The table gives
the model alone and the whole pipeline on test, and the difference to the shipped configuration, paired by user, with
its 95 % bootstrap interval; last, what fine-tuning the language model gained within the shipped run, all else trained
alike. Tuning and early stopping look at validation only.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

import genre
from genre.run import machine, versions

VARIANTS: dict[str, list[str]] = {
    "shipped": [],
    "text off": ["model.text=false", "model.ids=true", "model.adapter=frozen", "train.epochs=0"],
    "ids on": ["model.ids=true"],
    "fine-tuning off": ["model.adapter=frozen", "train.epochs=0"],
}
SYSTEMS = ("model", "genre")
METRICS = ("hit_rate@10", "ndcg@10")


def units(folder: Path, system: str, metric: str) -> dict[str, float]:
    """Value of a metric for each test user."""
    table = pq.read_table(folder / "evaluate" / "units.parquet", columns=["system", "user_id", metric])
    rows = zip(table["system"].to_pylist(), table["user_id"].to_pylist(), table[metric].to_pylist(), strict=True)
    return {user: value for name, user, value in rows if name == system and value is not None}


def paired(a: dict[str, float], b: dict[str, float], resamples: int = 2000) -> tuple[float, list[float]]:
    """Mean difference a - b over the users of both, and its interval."""
    difference = np.array([a[user] - b[user] for user in sorted(a.keys() & b.keys())])
    rng = np.random.default_rng(7)
    means: NDArray[Any] = np.array(
        [difference[rng.integers(0, len(difference), len(difference))].mean() for _ in range(resamples)]
    )
    return float(difference.mean()), [float(x) for x in np.percentile(means, [2.5, 97.5])]


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("config", type=Path)
    options.add_argument("--variant", action="append", choices=list(VARIANTS), help="only these; may be given again")
    options.add_argument("--set", action="append", default=[], metavar="PATH=VALUE", help="for every variant")
    options.add_argument("--out", type=Path)
    chosen = options.parse_args()
    variants = ["shipped", *[v for v in chosen.variant or VARIANTS if v != "shipped"]]
    folders: dict[str, Path] = {}
    for variant in variants:
        name = f"{chosen.config.stem}-{variant.replace(' ', '-')}"
        folders[variant] = Path("runs") / name
        genre.run(chosen.config, [*chosen.set, *VARIANTS[variant], f"name={name}"])
    rows = [row for variant in variants for row in compared(variant, folders)]
    before = [row for system in SYSTEMS for row in gained(folders["shipped"], system)]
    out = chosen.out or Path("benchmarks/results") / f"quality-{chosen.config.stem}.json"
    out.parent.mkdir(parents=True, exist_ok=True)
    facts = {"rows": rows, "fine_tuning": before, "set": chosen.set, "machine": machine(), "versions": versions()}
    out.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")


def compared(variant: str, folders: dict[str, Path]) -> list[dict[str, Any]]:
    """One variant beside the shipped configuration, printed and as data."""
    rows = []
    for system in SYSTEMS:
        for metric in METRICS:
            mine, shipped = (units(folders[name], system, metric) for name in (variant, "shipped"))
            difference, interval = paired(mine, shipped)
            value = float(np.mean(list(mine.values())))
            rows.append({"variant": variant, "system": system, "metric": metric, "value": value,
                         "difference": difference, "ci95": interval})  # fmt: skip
            shown = f"{difference:+.4f} [{interval[0]:+.4f}, {interval[1]:+.4f}]" if variant != "shipped" else ""
            print(f"{variant:16} {system:6} {metric:12} {value:.4f}  {shown}")
    return rows


def gained(folder: Path, system: str) -> list[dict[str, Any]]:
    """What fine-tuning the language model gained, all else trained alike."""
    rows = []
    for metric in METRICS:
        before = units(folder, f"{system}_before", metric)
        if not before:
            continue
        difference, interval = paired(units(folder, system, metric), before)
        rows.append({"system": system, "metric": metric, "difference": difference, "ci95": interval})
        print(f"{'fine-tuning':16} {system:6} {metric:12} {difference:+.4f} [{interval[0]:+.4f}, {interval[1]:+.4f}]")
    return rows


if __name__ == "__main__":
    main()
