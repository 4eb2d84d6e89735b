"""Whether a model may take another's place: what its evaluation says, beside its baselines and beside the other's."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Verdict:
    """The gate's answer, and why."""

    passed: bool | None
    """None where nothing was measured."""
    why: str
    code: str = ""
    """Names the reason for programs that say it in other words, with ``values``."""
    values: dict[str, Any] = field(default_factory=dict)


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
        return Verdict(None, "not measured: run 'genre evaluate'", "unmeasured")
    if (refreshed := candidate.get("refresh")) and not refreshed["open"]:
        return Verdict(False, refreshed["sentence"], *_shut(refreshed))
    gate = candidate.get("gate")
    if gate and gate["verdict"] == "worse":
        return Verdict(False, gate["sentence"], *_beside_baseline(candidate, gate))
    if gate is None or active is None or candidate["contract"] != active["contract"]:
        code, values = _beside_baseline(candidate, gate) if gate else ("no_baseline", {})
        return Verdict(True, gate["sentence"] if gate else "measured, with no baseline to compare", code, values)
    metric = gate["metric"]
    new, old = (one["systems"].get("genre", {}).get(metric) for one in (candidate, active))
    if not new or not old or not new.get("ci95") or not old.get("ci95"):
        return Verdict(True, gate["sentence"], *_beside_baseline(candidate, gate))
    up = candidate["larger_is_better"].get(metric, True)
    worse = new["ci95"][1] < old["ci95"][0] if up else new["ci95"][0] > old["ci95"][1]
    both = f"{metric} {new['value']:.4f}, that of the model that answers now {old['value']:.4f}"
    values = {"metric": metric, "new": new["value"], "old": old["value"]}
    why = f"worse than the model that answers now: {both}" if worse else f"not worse: {both}"
    return Verdict(not worse, why, "active_worse" if worse else "active_not_worse", values)


def _shut(refreshed: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """The first guard by which the gate of a refresh is shut, as a code and values; none where none is named."""
    closed = [one for one in refreshed.get("guards", ()) if one["verdict"] in ("worse", "not shown")]
    if not closed or closed[0]["interval"] is None:
        return "", {}
    names = ("metric", "test", "slice", "new", "old")
    (low, high), values = closed[0]["interval"], {name: closed[0][name] for name in names}
    code = "refresh_worse" if closed[0]["verdict"] == "worse" else "refresh_not_shown"
    return code, {**values, "low": low, "high": high, "more": len(closed) - 1}


def _beside_baseline(found: dict[str, Any], gate: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """The model beside its best baseline, as a code and values; none where not all of them are known."""
    metric, name, ends = gate["metric"], gate.get("baseline"), gate.get("ci95")
    new, old = (found["systems"].get(one, {}).get(metric, {}).get("value") for one in ("genre", name))
    if new is None or old is None or not ends:
        return "", {}
    values = {"metric": metric, "baseline": name, "new": new, "old": old, "low": ends[0], "high": ends[1]}
    return f"baseline_{gate['verdict'].replace(' ', '_')}", values


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
