"""The gate of a refresh: the old and the new model on the same events, and whether the new one may be published."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from genre.cases import Cases
from genre.comparisons import Measured, Resamples
from genre.data import Dataset, Log
from genre.errors import GenreError
from genre.metrics import Metric, Ranking
from genre.pipeline import Pipeline
from genre.refresh.translation import Translation, translated
from genre.refreshsection import RefreshSection
from genre.run import Run
from genre.slices import FEWEST, Slice, slices
from genre.systems import Catalogue, longest_list, measure, metric_named, of_pipeline, rank_cases, subset
from genre.wording import slice_in_words

Verdict = Literal["better", "not worse", "worse", "not shown", "told"]
"""Of the new model: ``not shown`` is neither better nor surely not worse; ``told`` is of too few to judge."""
TESTS = {"newest": "the newest events", "old": "the old model's own test"}
LEVEL = 0.05


@dataclass(frozen=True)
class Test:
    """One set of cases, and how both models rank them."""

    name: Literal["newest", "old"]
    data: Dataset
    """Whose rows the cases name."""
    cases: Cases
    counts: np.ndarray
    """``[items]``: interactions that the old model was trained on."""
    old: Ranking
    new: Ranking


def tests(last: Run, new: Run, metrics: list[Metric]) -> list[Test]:
    """Ask both runs about the newest events, and about the old run's own test."""
    old_pipe, new_pipe = Pipeline.load(last.folder), Pipeline.load(new.folder)
    longest = max(longest_list(metrics), 10)
    made: list[Test] = []
    for name, run in (("newest", new), ("old", last)):
        data = Dataset.load(run.path("data"))
        log = Log.of(data)
        cases = Cases.of(log, "test", run.config.evaluate.candidates)
        counts = _trained_on(data, old_pipe)
        catalogue = Catalogue(counts, np.zeros((log.n_items, 1), dtype=np.float32))
        found: dict[str, Ranking] = {}
        for side, pipe in (("old", old_pipe), ("new", new_pipe)):
            own = pipe.data.items.num_rows == log.n_items and pipe.data.hash == data.hash
            score = of_pipeline(pipe) if own else translated(pipe, Translation.between(data, log.actions, pipe))
            found[side] = rank_cases(score, cases, catalogue, longest)
        made.append(Test("newest" if name == "newest" else "old", data, cases, counts, found["old"], found["new"]))
    return made


def judged(asked: list[Test], section: RefreshSection, seed: int) -> dict[str, Any]:
    """Every guard with its verdict, and whether the gate is open."""
    metrics = {name: guard_named(name) for name in section.guarded}
    guards: list[dict[str, Any]] = []
    for test in asked:
        margin = section.margin if test.name == "newest" else section.old_margin
        whole = Slice("all", np.arange(len(test.cases)))
        parts = [one for one in slices(test.cases, test.counts, test.data.users) if len(one.rows) < len(test.cases)]
        # One in twenty slices would be worse by chance alone.
        level = LEVEL / max(1, len(parts) * len(metrics))
        first = _guards(test, whole, metrics, section, seed, LEVEL)
        over = {one["metric"]: one["old"] or 0.0 for one in first}
        guards += [{**one, "verdict": _whole(one, margin * over[one["metric"]])} for one in first]
        for part in parts:
            for one in _guards(test, part, metrics, section, seed, level):
                verdict = _part(one, section.slice_margin * over[one["metric"]])
                guards.append({**one, "verdict": verdict})
    closed = [one for one in guards if one["verdict"] in ("worse", "not shown")]
    return {"open": not closed, "guards": guards, "sentence": _sentence(guards, closed)}


def guard_named(name: str) -> Metric:
    """The metric of a guard. Raises `GenreError` for one that judges no ranking, or has no better."""
    metric = metric_named(name)
    if metric.needs != "ranking" or not metric.larger_is_better:
        raise GenreError(f"refresh.guarded: {name} does not say which ranking is better; take such as ndcg@10")
    return metric


def _trained_on(data: Dataset, old: Pipeline) -> np.ndarray:
    """How often the old model saw each item of ``data`` in training."""
    log = old.log.parts("train")
    counts = np.bincount(log.item[log.positive], minlength=len(old.item_ids))
    known = dict(zip(old.item_ids, counts.tolist(), strict=True))
    return np.array([known.get(item, 0) for item in data.items["item_id"].to_pylist()], dtype=np.int32)


def _guards(
    test: Test, part: Slice, metrics: dict[str, Metric], section: RefreshSection, seed: int, level: float
) -> list[dict[str, Any]]:
    """Both models' values on a part of a test, and the interval of their difference over people."""
    resamples = Resamples.of(test.cases.user[part.rows], section.bootstrap, seed)
    sides = [subset(ranking, part.rows, part.targets) for ranking in (test.old, test.new)]
    found = []
    for name, metric in metrics.items():
        old, new = (np.asarray(measure(one, [metric])[name], dtype=np.float64) for one in sides)
        measured = resamples.means({"old": old, "new": new})
        found.append(
            {
                "test": test.name,
                "slice": part.name,
                "metric": name,
                "n": len(part.rows),
                "old": measured["old"].value,
                "new": measured["new"].value,
                **_difference(measured["new"], measured["old"], level),
            }
        )
    return found


def _difference(new: Measured, old: Measured, level: float) -> dict[str, Any]:
    if new.value is None or old.value is None or new.draws is None or old.draws is None:
        return {"difference": None, "interval": None}
    draws = new.draws - old.draws
    known = draws[np.isfinite(draws)]
    low, high = np.quantile(known, [level / 2, 1 - level / 2]) if len(known) else (np.nan, np.nan)
    if np.isnan(low):
        return {"difference": None, "interval": None}
    return {"difference": new.value - old.value, "interval": [float(low), float(high)]}


def _whole(guard: dict[str, Any], margin: float) -> Verdict:
    """Of a whole test it has to be shown that the new model is not worse."""
    if guard["interval"] is None:
        return "not shown"
    low, high = guard["interval"]
    if low > 0:
        return "better"
    if low >= -margin:
        return "not worse"
    return "worse" if high < 0 else "not shown"


def _part(guard: dict[str, Any], margin: float) -> Verdict:
    """Of a slice, which holds fewer people, it must not be shown that it is worse."""
    if guard["interval"] is None or guard["n"] < FEWEST:
        return "told"
    low, high = guard["interval"]
    if low > 0:
        return "better"
    return "worse" if high < 0 and guard["difference"] < -margin else "not worse"


def _sentence(guards: list[dict[str, Any]], closed: list[dict[str, Any]]) -> str:
    if not closed:
        better = [
            f"{one['metric']} on {TESTS[one['test']]}"
            for one in guards
            if (one["slice"], one["verdict"]) == ("all", "better")
        ]
        gained = f"better in {', '.join(better)}" if better else "better nowhere, and not worse"
        return f"The gate is open: {gained}, and worse in none of {len(guards)} guarded measures and slices."
    one = closed[0]
    where = TESTS[one["test"]] + ("" if one["slice"] == "all" else f", {slice_in_words(one['slice'])}")
    low, high = one["interval"] or (float("nan"), float("nan"))
    how = "is worse" if one["verdict"] == "worse" else "is not shown to be no worse"
    values = (
        f"{one['new'] or 0:.4f} against {one['old'] or 0:.4f}, interval of the difference {low:+.4f} to {high:+.4f}"
    )
    more = f", and {len(closed) - 1} more" if len(closed) > 1 else ""
    return f"The gate is shut: by {one['metric']} on {where} the new model {how}: {values}{more}."
