"""Pictures of a refresh: both models on every guard, and what the detectors said."""

from __future__ import annotations

from typing import Any

from genre.figures import forest
from genre.wording import slice_in_words

NAMES = {"newest": "newest events", "old": "old test"}
SERIES = {"better": 0, "not worse": 2, "told": 2, "not shown": 3, "worse": 1}
MOST_ROWS = 24
"""Slices that the picture shows, those that matter most first."""


def pictures(result: dict[str, Any]) -> dict[str, str]:
    """SVGs by name."""
    guards = [one for one in result["gate"]["guards"] if one["interval"] is not None]
    return {"gate": gate(guards)} if guards else {}


def gate(guards: list[dict[str, Any]]) -> str:
    """The difference of the new model to the old in each measure, overall and in the slices, with its interval."""
    metrics = list(dict.fromkeys(one["metric"] for one in guards))
    places: dict[str, tuple[int, float, int]] = {}
    panels: dict[str, dict[str, Any]] = {metric: {} for metric in metrics}
    for one in guards:
        name = NAMES[one["test"]] if one["slice"] == "all" else f"{NAMES[one['test']]}: {slice_in_words(one['slice'])}"
        panels[one["metric"]][name] = {"value": one["difference"], "ci95": one["interval"]}
        place = (one["slice"] != "all", float(one["difference"]), SERIES[one["verdict"]])
        if name not in places or one["verdict"] in ("worse", "not shown"):
            places[name] = place
    rows = sorted(places, key=lambda name: places[name])[:MOST_ROWS]
    titles = {metric: f"{metric}, new less old" for metric in metrics}
    shown = {titles[m]: {n: v for n, v in found.items() if n in rows} for m, found in panels.items()}
    return forest("refresh", [(name, places[name][2]) for name in rows], shown, zero=True)
