"""docs/performance.md, made from the measurements in results/speed.json, so that no number on it is typed by hand."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent.parent / "results" / "speed.json"
PAGE = Path(__file__).parent.parent.parent / "docs" / "performance.md"

HEAD = """# Performance

How long each stage takes, beside what one would do otherwise, measured in turn in one process on {cores} cores with
{threads} thread{s}. Made from `benchmarks/results/speed.json` by `python benchmarks/speed.py`, which measures anew;
medians, with the lowest and the highest in brackets, and ratios to the row that says 1.0. Machines differ: ratios carry
over, seconds do not. `genre profile FILE` says where the time of your own run goes, and which setting mends it.
"""

SECTIONS = {
    "training": (
        "A step of training",
        "Interactions a second that the step learns from, on MovieLens 100K. Each row takes one waste away from the "
        "textbook loop, which pads to 128 tokens, reads an item each time that it occurs, and runs every layer.",
    ),
    "beauty": (
        "Fine-tuning on Amazon Beauty",
        "One epoch that makes the same updates, and so ends at the same validation NDCG.",
    ),
    "contrastive": (
        "Training on pairs of texts",
        "An epoch of the same pairs in the same batches, the same layers trained from the same weights, to the same "
        "loss.",
    ),
    "dense": (
        "The step's dense part",
        "Operations a second of the trained layers while the quickstart is fine-tuned, beside the fastest product of "
        "matrices, measured right before; shares in brackets are the lowest and the highest.",
    ),
    "graph": (
        "Keeping the graph of a round",
        "An epoch of the quickstart's fine-tuning after the first, with `train.graph_tokens` as it ships and with 0; "
        "the gradients are the same.",
    ),
    "layers": (
        "What is trained",
        "An epoch of fine-tuning after the first, in our own loop: what an adapter leaves as it came is computed once.",
    ),
    "encoding": (
        "Reading texts",
        "10,000 titles from words to vectors, cutting into tokens included. What each form loses in quality is in the "
        "second table, as `genre compress` measured it on the run's test part.",
    ),
    "evaluation": (
        "Evaluating",
        "The rank of every person's targets among all items, and lists of 50: 4 metrics at 4 cut-offs, from the same "
        "scores.",
    ),
    "request": (
        "One recommendation",
        "One person, from the history to a slate of 100 out of 100,000 items.",
    ),
}  # fmt: skip
NUMBERS = {"request": (1000.0, "ms")}
"""Factor on seconds, and its unit, of a table that is not told in seconds."""


def page(results: dict[str, Any]) -> str:
    """The page that tells the results."""
    threads = results["threads"]
    parts = [HEAD.format(cores=results["machine"]["cores"], threads=threads, s="" if threads == 1 else "s")]
    for name, (title, text) in SECTIONS.items():
        if name in results["tables"]:
            found = results["tables"][name]
            lines = TABLES.get(name, _times)(found["rows"], *NUMBERS.get(name, (1, "s")))
            parts.append("\n".join([f"## {title}", text, "", *lines, *_further(name, found), ""]))
    return "\n".join(parts)


def _times(rows: list[dict[str, Any]], unit: float = 1, word: str = "s") -> list[str]:
    lines = [f"| way | {word} | ratio |", "| --- | ---: | ---: |"]
    for row in rows:
        low, high = (one * unit for one in row["range"])
        times = row["seconds"] / rows[0]["seconds"]
        lines.append(f"| {row['way']} | {row['seconds'] * unit:.3g} [{low:.3g}, {high:.3g}] | {times:.3g} |")
    return lines


def _shares(rows: list[dict[str, Any]], *_: object) -> list[str]:
    lines = ["| part | GFLOP/s | share of the limit |", "| --- | ---: | ---: |"]
    for row in rows:
        (low, high), (least, most) = row["range"], row["share_range"]
        speed, share = f"{row['gflops']:.1f} [{low:.1f}, {high:.1f}]", f"{row['share']:.0%} [{least:.0%}, {most:.0%}]"
        lines.append(f"| {row['part']} | {speed} | {share} |")
    return lines


def _rates(rows: list[dict[str, Any]], *_: object) -> list[str]:
    lines = ["| loop | interactions/s | ratio |", "| --- | ---: | ---: |"]
    for row in rows:
        rates = row["interactions_per_second"]
        middle = rates[len(rates) // 2]
        lines.append(f"| {row['loop']} | {middle:.1f} [{rates[0]:.1f}, {rates[-1]:.1f}] | {row['ratio']:.1f} |")
    return lines


TABLES: dict[str, Callable[..., list[str]]] = {"training": _rates, "dense": _shares}
"""How a table is told that is not one of seconds."""


def _further(name: str, found: dict[str, Any]) -> list[str]:
    if name == "dense":
        return ["", f"These layers take {found['of_the_step']:.0%} of the step's time."]
    if name == "graph":
        return ["", "Of which in the trained layers:", "", *_times(found["layers"])]
    if name == "contrastive":
        losses = ", ".join(f"{who} {value:.4f}" for who, value in found["loss"].items())
        return ["", f"Mean loss of the last ten steps: {losses}. Texts: {found['what']}."]
    if name == "evaluation":
        largest = max(found["differences"].values(), default=0.0)
        return ["", f"{found['people']:,} people, {found['items']:,} items; {found['what']}. Largest difference of a "
                f"metric to the peer: {largest:.1e}."]  # fmt: skip
    if name == "encoding":
        return ["", *_forms(found["forms"]["forms"])]
    return []


def _forms(forms: dict[str, Any]) -> list[str]:
    lines = ["| form | MB | loss on test | of |", "| --- | ---: | ---: | --- |"]
    for name, one in forms.items():
        for metric, found in one["test"].items():
            low, high = found["ci95"]
            lines.append(f"| {name} | {one['mb']:.1f} | {found['loss']:+.1%} [{low:+.1%}, {high:+.1%}] | {metric} |")
    return lines


def write() -> None:
    """Write the page."""
    PAGE.write_text(page(json.loads(RESULTS.read_text(encoding="utf-8"))), encoding="utf-8")
