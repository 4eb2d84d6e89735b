"""The newest days of a store beside what was before: looked at, drawn, kept, and told to the audit."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from genre.data import Dataset
from genre.figures import alone, forest
from genre.files import write_json, write_text
from genre.refresh.drift import DAY, Happened, People, inputs, look, outputs, tell, window_of
from genre.run import Run
from genre.store import Store
from genre.store.exporting import interactions

ENOUGH = 200
"""Events before the window from which the store itself says what is normal; with fewer the run's log does."""


def watch(run: Run, store: Store, days: float, clicks: Sequence[str] = (), quiet: float = DAY) -> dict[str, Any]:
    """Judge the newest ``days``, write ``drift/`` of the run, and note new alarms in the audit.

    Raises `DataError` where the store holds no events.
    """
    data = Dataset.load(run.path("data"))
    log = Happened.of(interactions(store.access, [], skips=False))
    since = window_of(log, days)
    before, now = log.where(log.time < since), log.where(log.time >= since)
    normal = "the store" if len(before) >= ENOUGH else "the log of the run"
    if len(before) < ENOUGH:
        before = Happened.of(data.interactions)
    template = run.config.model.template
    watched = [*inputs(before, now, data.items, template), *outputs(store, since, clicks)]
    rows = look(watched, run.config.refresh.detectors, People.of(now).user.tolist())
    made = time.time()
    result = {"made": made, "since": since, "days": days, "events": len(now), "normal": normal, "rows": rows}
    write_json(run.path("drift") / "drift.json", result)
    if (svg := picture(rows)) is not None:
        write_text(run.path("drift") / "drift.svg", alone(svg))
    return {**result, "told": tell(store, rows, quiet, made)}


def picture(rows: Sequence[dict[str, Any]]) -> str | None:
    """How far each detector is from its alarm, which is at 1; None where nothing could be judged."""
    known = [row for row in rows if row["alarm"] is not None and row["threshold"]]
    if not known:
        return None
    names = [f"{row['watched']}: {row['detector']}" for row in known]
    found = {}
    for name, row in zip(names, known, strict=True):
        share = row["statistic"] / row["threshold"]
        found[name] = {"value": float(np.clip(share, 0, 5)), "ci95": None}
    series = [(name, 1 if row["alarm"] else 0) for name, row in zip(names, known, strict=True)]
    return forest("drift", series, {"1 sets off an alarm (up to 5 shown)": found})
