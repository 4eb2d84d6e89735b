"""Whether a model may take another's place: what its evaluation says, beside its baselines and beside the other's."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Verdict:
    """The gate's answer, and why."""

    passed: bool | None
    """None where nothing was measured."""
    why: str


def measured(folder: Path) -> dict[str, Any] | None:
    """What `genre evaluate` found; None where it has not been run, or its file cannot be read."""
    found = _read(folder / "evaluate" / "metrics.json")
    if found is not None and (refreshed := _read(folder / "refresh" / "gate" / "refresh.json")):
        found["refresh"] = refreshed["gate"]
    return found


def _read(path: Path) -> dict[str, Any] | None:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def judge(candidate: dict[str, Any] | None, active: dict[str, Any] | None) -> Verdict:
    """A model is refused if it is shown to be worse than its best baseline, or than the one that answers now.

    One that `genre refresh` made is refused, too, if it was not shown to be no worse than the one that it came from.

    Two models are compared only where their evaluations asked the same (`contract`), and a model is worse only where
    the intervals do not touch.
    """
    if candidate is None:
        return Verdict(None, "not measured: run 'genre evaluate'")
    if (refreshed := candidate.get("refresh")) and not refreshed["open"]:
        return Verdict(False, refreshed["sentence"])
    gate = candidate.get("gate")
    if gate and gate["verdict"] == "worse":
        return Verdict(False, gate["sentence"])
    if gate is None or active is None or candidate["contract"] != active["contract"]:
        return Verdict(True, gate["sentence"] if gate else "measured, with no baseline to compare")
    metric = gate["metric"]
    new, old = (one["systems"].get("genre", {}).get(metric) for one in (candidate, active))
    if not new or not old or not new.get("ci95") or not old.get("ci95"):
        return Verdict(True, gate["sentence"])
    up = candidate["larger_is_better"].get(metric, True)
    worse = new["ci95"][1] < old["ci95"][0] if up else new["ci95"][0] > old["ci95"][1]
    both = f"{metric} {new['value']:.4f}, that of the model that answers now {old['value']:.4f}"
    return Verdict(not worse, f"worse than the model that answers now: {both}" if worse else f"not worse: {both}")


def headline(found: dict[str, Any] | None) -> dict[str, Any]:
    """The first numbers of an evaluation: each measure at 10, with its interval, and the best baseline's."""
    if found is None:
        return {}
    mine, best = found["systems"].get("genre", {}), found.get("best_baseline") or {}
    rows = {}
    for metric, value in mine.items():
        if "@" in metric and not metric.endswith("@10"):
            continue
        theirs = found["systems"].get(best.get(metric, ""), {}).get(metric, {})
        rows[metric] = {
            "value": value.get("value"),
            "ci95": value.get("ci95"),
            "baseline": best.get(metric),
            "baseline_value": theirs.get("value"),
        }
    return rows
