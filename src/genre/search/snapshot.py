"""How far a search is, as a file beside it: for the console and whoever else looks, without the trials' storage."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genre.files import write_json
from genre.search.outcomes import ordered

if TYPE_CHECKING:
    from genre.search.loop import Standing

NAME = "progress.json"
SILENT = 60.0
"""Seconds after which a search that has not ended and says nothing is one that was stopped."""


def write_snapshot(folder: Path, name: str, standing: Standing, larger: list[bool]) -> None:
    """Write ``progress.json``: how many trials came to what, the time left, the best trial and the way there."""
    ended = {state: sum(one.state.name == state for one in standing.trials) for state in ("COMPLETE", "PRUNED", "FAIL")}
    best = ordered(standing.trials, larger[0])
    facts = {
        "name": name,
        "doing": standing.doing,
        "at": time.time(),
        "objectives": dict(zip(standing.objectives, larger, strict=True)),
        "budget": standing.budget,
        "done": ended["COMPLETE"],
        "pruned": ended["PRUNED"],
        "failed": ended["FAIL"],
        "running": sum(one.state.name == "RUNNING" for one in standing.trials),
        "left": max(0, standing.budget - sum(ended.values())),
        "seconds_left": 0.0 if standing.doing == "ended" else standing.seconds_left,
        "best_so_far": _way([(one.number, one.values[0]) for one in best], larger[0]),
        "best": None,
    }
    if best:
        values = dict(zip(standing.objectives, best[0].values, strict=True))
        facts["best"] = {"number": best[0].number, "values": values, "chosen": best[0].params}
    write_json(folder / NAME, facts)


def _way(values: list[tuple[int, float]], larger: bool) -> list[list[float]]:
    """The number of each trial that came to its end, from 1, and the best value up to it."""
    found: list[list[float]] = []
    for number, value in sorted(values):
        best = found[-1][1] if found else value
        found.append([number + 1, max(best, value) if larger else min(best, value)])
    return found


def snapshots(home: Path) -> list[dict[str, Any]]:
    """Those of all runs of a folder, the latest first, each with its ``run`` and whether it is ``alive``."""
    found = []
    for path in home.glob(f"*/search/{NAME}"):
        facts = json.loads(path.read_text(encoding="utf-8"))
        alive = facts["doing"] != "ended" and time.time() - facts["at"] < SILENT
        found.append({**facts, "run": path.parts[-3], "alive": alive})
    return sorted(found, key=lambda one: -one["at"])
