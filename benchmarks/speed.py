"""How fast training, reading, evaluation and one answer are, each beside what one would do otherwise, in turn.

    python benchmarks/speed.py [--rows training contrastive ...] [--repeats 5] [--out FILE]

The modules of `speedrows/` say what is measured in their rows. Rows that are not asked for stay in the file
(`benchmarks/results/speed.json`) if they are of the same machine, threads and versions; docs/performance.md is made
from it.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from genre.run import machine, versions
from speedrows import beauty, contrastive, dense, encoding, evaluation, graph, layers, page, request, training


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--repeats", type=int, default=5)
    options.add_argument("--rows", nargs="+", choices=[*TABLES], default=[*TABLES], help="what to measure")
    options.add_argument("--users", type=int, default=48, help="people of the training rows")
    options.add_argument("--share", type=float, default=1.0, help="share of the people whom the evaluation rows rank")
    options.add_argument("--items", type=int, default=request.ITEMS, help="items that the request rows choose from")
    options.add_argument("--run", type=Path, default=Path("runs/quickstart"), help="whose compressed forms read titles")
    options.add_argument("--out", type=Path, default=Path("benchmarks/results/speed.json"))
    chosen = options.parse_args()
    for name in chosen.rows:
        keep(chosen.out, name, TABLES[name](chosen))
    if chosen.out.resolve() == page.RESULTS:
        page.write()


TABLES: dict[str, Callable[[argparse.Namespace], dict[str, Any]]] = {
    "training": lambda chosen: training.main(chosen.repeats, chosen.users),
    "beauty": lambda chosen: beauty.main(chosen.repeats),
    "contrastive": lambda chosen: contrastive.main(chosen.repeats),
    "dense": lambda chosen: dense.main(chosen.repeats, chosen.users),
    "graph": lambda chosen: graph.main(chosen.repeats, chosen.users),
    "layers": lambda chosen: layers.main(chosen.repeats, chosen.users),
    "encoding": lambda chosen: encoding.main(chosen.repeats, chosen.run),
    "evaluation": lambda chosen: evaluation.main(chosen.repeats, chosen.share),
    "request": lambda chosen: request.main(chosen.repeats, chosen.items),
}


def keep(out: Path, name: str, found: dict[str, Any]) -> None:
    """Put a table into the file, beside those that were measured on the same machine."""
    facts = json.loads(json.dumps({"threads": torch.get_num_threads(), "machine": machine(), "versions": versions()}))
    old = json.loads(out.read_text(encoding="utf-8")) if out.exists() else {}
    tables = old.get("tables", {}) if {key: old.get(key) for key in facts} == facts else {}
    out.parent.mkdir(parents=True, exist_ok=True)
    kept = {"tables": {**tables, name: found}, **facts}
    out.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
