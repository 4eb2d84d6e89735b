"""Tables and pictures of what `quality.py` found."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

KINDS = {"ours": "ours", "part": "ours, one part changed", "source": "source alone", "peer": "outside library"}
COLOURS = {"ours": "#b5332a", "part": "#e0a097", "source": "#4a6fa5", "peer": "#3b7a57"}

Result = dict[str, Any]


def write_tables(results: Path) -> dict[str, str]:
    """``quality.md`` of every ``quality-SET.json`` in a folder; gives each set's part of it."""
    parts = {}
    for file in sorted(results.glob("quality-*.json")):
        found = json.loads(file.read_text(encoding="utf-8"))
        parts[found["set"]] = table(found)
    head = "# How well it recommends\n"
    head += "Made by `benchmarks/quality.py`; the numbers with all they depend on are in the JSON files.\n"
    (results / "quality.md").write_text("\n".join([head, *parts.values()]), encoding="utf-8")
    return parts


def table(result: Result) -> str:
    """A set's results as Markdown: best first within each kind."""
    contract, metrics, first = result["contract"], result["metrics"], result["metric"]
    split = contract["split"].get("type", "") if isinstance(contract["split"], dict) else contract["split"]
    rows = sorted(result["systems"], key=lambda row: (list(KINDS).index(row["kind"]), -_value(row, first)))
    columns = ["system", "", *metrics, f"{first}, rare items", f"ours less this, {first}", "ours is", "relative"]
    lines = [
        f"## {result['set']}",
        f"{contract['dataset']}, split {split}, {contract['users']} test users, candidates {contract['candidates']}; "
        f"ours over seeds {', '.join(map(str, contract['seeds']))}; 95 % intervals over users; rare: fewer than "
        f"{result['rare']['fewer_than']} interactions in training ({result['rare']['cases']} cases).\n",
        f"| {' | '.join(columns)} |",
        f"|{'---|' * 2}{'---:|' * (len(columns) - 2)}",
    ]
    lines += [f"| {' | '.join(_cells(row, result))} |" for row in rows]
    lines += ["", _sentence(result)]
    cut = [row["name"] for row in rows if row.get("ended") == "time"]
    if cut:
        lines.append(f"- their time was up before validation stopped rising: {', '.join(cut)}")
    lines += [f"- not measured: {what}: {why}" for what, why in result["missing"].items()]
    return "\n".join(lines) + "\n"


def _cells(row: Result, result: Result) -> list[str]:
    metrics, first = result["metrics"], result["metric"]
    found = (row.get("ours_less_this") or {}).get(first)
    rare = "" if row["rare"] is None else f"{row['rare']:.4f}"
    ending = ["", "", ""]
    if found:
        low, high = found["ci95"]
        relative = f"{found['relative']:+.1%}" if "relative" in found else ""
        ending = [f"{found['difference']:+.4f} [{low:+.4f}, {high:+.4f}]", found["verdict"], relative]
    star = " (best rival)" if row["name"] == result["best_rival"][first] else ""
    return [row["name"] + star, KINDS[row["kind"]], *(_interval(row["values"][m]) for m in metrics), rare, *ending]


def _interval(found: Result) -> str:
    if found["value"] is None:
        return "–"
    low, high = found["ci95"]
    return f"{found['value']:.4f} [{low:.4f}, {high:.4f}]"


def _value(row: Result, metric: str) -> float:
    return row["values"][metric]["value"] or 0.0


def _sentence(result: Result) -> str:
    """The verdict on each metric."""
    parts = []
    rows = {row["name"]: row for row in result["systems"]}
    for metric in result["metrics"]:
        name = result["best_rival"][metric]
        ours, rival = _value(rows["genre"], metric), _value(rows[name], metric)
        found = rows[name]["ours_less_this"][metric]
        share = ""
        if found and found.get("relative_ci95"):
            low, high = found["relative_ci95"]
            share = f" ({found['relative']:+.1%}, 95 % interval {low:+.1%} to {high:+.1%})"
        parts.append(
            f"{metric}: {ours:.4f} against {rival:.4f} of {name}{share}: {found['verdict'] if found else '–'}."
        )
    return " ".join(parts)


def draw(result: Result, path: Path) -> None:
    """Every system's value with its interval, the best at the top."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.fonttype"] = "none"
    from matplotlib import pyplot
    from matplotlib.lines import Line2D

    metric = result["metric"]
    rows = sorted(
        (row for row in result["systems"] if row["values"][metric]["value"] is not None),
        key=lambda row: _value(row, metric),
    )
    figure, axes = pyplot.subplots(figsize=(8, 1.2 + 0.3 * len(rows)))
    for place, row in enumerate(rows):
        value = _value(row, metric)
        low, high = row["values"][metric]["ci95"]
        error = [[max(0.0, value - low)], [max(0.0, high - value)]]
        axes.errorbar(value, place, xerr=error, fmt="o", capsize=3, color=COLOURS[row["kind"]])
    axes.set_yticks(range(len(rows)), [row["name"] for row in rows])
    marks = [Line2D([], [], marker="o", linestyle="", color=colour) for colour in COLOURS.values()]
    axes.legend(marks, KINDS.values(), loc="lower right", frameon=False)
    axes.set(xlabel=f"{metric} on test, 95 % interval over users", title=result["set"])
    axes.grid(axis="x", alpha=0.3)
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)
