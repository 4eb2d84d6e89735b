"""Are explanations faithful: does deleting the history item that one cites cost the item more than deleting another?

    python benchmarks/explanations.py [RUN] [--users N] [--places K] [--out FILE]

RUN is a finished run folder, runs/quickstart unless told (`genre run configs/quickstart.yaml` makes it). For each of
some users, drawn by a seed, the first items of their slate are explained. Then one event of their history is deleted:
the one that the explanation names first (``cited``), the ``latest``, or any of the others that were left out
(``random``: the mean over all of them, which is what a draw gives on average, so that no luck is in it).

Two things are measured. ``score_fall`` and ``rank_fall`` are those that the explanation itself computed, among the same
candidates: that the cited one leads there says that the search for it works. ``served_rank_fall`` and ``served_gone``
are what happens when the whole pipeline answers the shorter history: candidates are retrieved and filtered anew, and an
item that no source retrieves any more stands behind all candidates. The citation was not chosen by these, though they
hang together with what it was chosen by: they are what a person who deletes the event would see. ``first_gone`` is the
share of items that leave the first ten places. Intervals are 95 % bootstrap intervals over users, differences are
paired.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from genre.comparisons import Resamples, compare
from genre.explaining import LATEST, explain, without_each
from genre.pipeline import Pipeline
from genre.run import Run, machine, versions
from genre.types import Explanation, Floats, Ints, Query

WAYS = ("cited", "random", "latest")
MEASURES = ("score_fall", "rank_fall", "served_rank_fall", "served_gone", "first_gone")
FIRST = 10
"""Places that a slate usually has."""


def main(arguments: Sequence[str] | None = None) -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("run", type=Path, nargs="?", default=Path("runs/quickstart"))
    options.add_argument("--users", type=int, default=300)
    options.add_argument("--places", type=int, default=5, help="items of each slate that are explained")
    options.add_argument("--seed", type=int, default=7)
    options.add_argument("--bootstrap", type=int, default=2000)
    options.add_argument("--out", type=Path, default=Path("benchmarks/results/explanations.json"))
    chosen = options.parse_args(arguments)
    pipeline = Pipeline.load(chosen.run)
    result = measured(pipeline, chosen.users, chosen.places, chosen.seed, chosen.bootstrap)
    result |= {"run": Run.open(chosen.run).config.name, "data": pipeline.data.manifest.get("name", "")}
    result |= {"data_hash": pipeline.data.hash, "machine": machine(), "versions": versions()}
    show(result)
    chosen.out.parent.mkdir(parents=True, exist_ok=True)
    chosen.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def measured(pipeline: Pipeline, users: int, places: int, seed: int, bootstrap: int) -> dict[str, Any]:
    """What every deletion costs the items of the slates of so many users."""
    rng = np.random.default_rng(seed)
    ids = pipeline.data.users["user_id"].to_pylist()
    found: list[tuple[int, dict[str, dict[str, float]]]] = []
    seconds, explained, asked = 0.0, 0, 0
    for user in rng.permutation(len(ids)):
        query = Query(user_id=ids[user], k=places)
        history = pipeline.hydrate([query])
        if history.lengths[0] < 3 or asked == users:
            continue
        [slate] = pipeline.recommend([query])
        started = time.perf_counter()
        reasons = explain(pipeline, slate)
        seconds += time.perf_counter() - started
        explained, asked = explained + len(reasons), asked + 1
        served, _ = pipeline.score_block(without_each(history, LATEST))
        found += [(int(user), of) for one in reasons if (of := deleted(pipeline, one, served))]
    owner = np.array([user for user, _ in found], dtype=np.int32)
    resamples = Resamples.of(owner, bootstrap, seed)
    facts = {"users": asked, "explained": explained, "cited_something": len(found), "latest_events": LATEST}
    facts |= {"seconds_per_slate": seconds / max(asked, 1), "seconds_per_explanation": seconds / max(explained, 1)}
    return {**facts, "seed": seed, "bootstrap": bootstrap, **summary(found, resamples)}


def deleted(pipeline: Pipeline, one: Explanation, served: Floats) -> dict[str, dict[str, float]]:
    """By what is deleted and by measure, what it costs an item; nothing where no event of the history adds to it."""
    events = [event for event in one.carried if event.item_id is not None]
    if not events or events[0].change <= 0:
        return {}
    row, ages = pipeline.item_row(one.item_id), np.array([event.age for event in events])
    ranks, gone = served_ranks(served, row)
    columns = {
        "score_fall": np.array([event.change for event in events]),
        "rank_fall": np.array([event.rank_without for event in events]) - one.rank,
        "served_rank_fall": (ranks[1 + ages] - ranks[0]),
        "served_gone": gone[1 + ages],
        "first_gone": (ranks[1 + ages] > FIRST) & (ranks[0] <= FIRST),
    }
    which = {"cited": ages == ages[0], "random": ages != ages[0], "latest": ages == 0}
    return {way: {name: float(of[rows].mean()) for name, of in columns.items()} for way, rows in which.items()}


def served_ranks(served: Floats, row: int) -> tuple[Ints, Ints]:
    """Rank of an item by each row of final scores, behind all candidates where it is none, and whether it is none."""
    own = served[:, [row]]
    gone = ~np.isfinite(own[:, 0])
    ahead = (served > own).sum(1) + (served[:, :row] == own).sum(1)
    return np.where(gone, np.isfinite(served).sum(1), ahead).astype(np.int32) + 1, gone.astype(np.int32)


def summary(found: list[tuple[int, dict[str, dict[str, float]]]], resamples: Resamples) -> dict[str, Any]:
    """Means with their intervals, and the cited event beside the others, paired."""
    values = {way: {name: np.array([of[way][name] for _, of in found]) for name in MEASURES} for way in WAYS}
    means = {way: resamples.means(values[way]) for way in WAYS}
    beside = [
        {"a": "cited", "b": way, "measure": name, **difference}
        for way in WAYS[1:]
        for name in MEASURES
        if (difference := compare(means["cited"][name], means[way][name], larger_is_better=True))
    ]
    plain = {way: {name: of.as_json() for name, of in measures.items()} for way, measures in means.items()}
    return {"deleted": plain, "comparisons": beside}


def show(result: dict[str, Any]) -> None:
    """Print the table, and what it takes."""
    print(f"{result['data']}: {result['users']} users, {result['explained']} items explained")
    print(f"{'deleted':8}" + "".join(f"{name:>27}" for name in MEASURES))
    for way, of in result["deleted"].items():
        cells = [(of[name]["value"], of[name]["ci95"]) for name in MEASURES]
        print(f"{way:8}" + "".join(f"{value:>9.4f} [{low:.3f}, {high:.3f}]".rjust(27) for value, (low, high) in cells))
    for one in result["comparisons"]:
        low, high = one["ci95"]
        print(
            f"cited - {one['b']}, {one['measure']}: {one['difference']:+.4f} [{low:+.4f}, {high:+.4f}] {one['verdict']}"
        )
    print(f"{result['seconds_per_slate']:.3f} s a slate, {result['seconds_per_explanation']:.4f} s an explanation")


if __name__ == "__main__":
    main()
