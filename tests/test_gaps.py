"""The fairness gap: as large as it was made, and refused where there is nothing to compare."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import yaml

from finished import finished
from genre.cases import Cases
from genre.configfile import load
from genre.data import Dataset, Log
from genre.errors import ConfigError, GenreError
from genre.metrics import Ranking
from genre.search.ending import Ending
from genre.search.gaps import gap, groups_of, insist_on_groups
from genre.search.measures import counts_of, larger_is_better, objectives_of
from genre.searchsection import Gap
from genre.systems import Catalogue, metric_named, rank_cases
from genre.types import Floats, Ints
from toyworld import circle, dataset

SECOND = 1 / math.log2(3)
"""NDCG of a list whose one relevant item stands second."""


@pytest.fixture(scope="module")
def world() -> tuple[Dataset, Cases, Ints]:
    """A circle with 60 people, women and men in turn."""
    data = dataset(circle())
    log = Log.of(data)
    return data, Cases.of(log, "valid"), counts_of(log)


def ranked(cases: Cases, counts: Ints, places: np.ndarray) -> Ranking:
    """Everybody's target at the place that is asked for: the first, the second, or the last."""
    allowed = np.where(cases.allowed(), 0.0, -np.inf)
    scores = allowed - np.arange(cases.n_items) / 100
    for row, (targets, place) in enumerate(zip(cases.targets, places, strict=True)):
        others = [i for i in range(cases.n_items) if np.isfinite(allowed[row, i]) and i not in targets]
        scores[row, targets] = -10.0 if place < 0 else scores[row, others[place - 1]] - 0.001 if place else 10.0
    at = iter(range(len(cases)))

    def score(some: Cases) -> Floats:
        return np.stack([scores[next(at)] for _ in range(len(some))]).astype(np.float32)

    return rank_cases(score, cases, Catalogue(counts, np.eye(cases.n_items, dtype=np.float32)))


@pytest.mark.parametrize(("men", "expected"), [(0, 0.0), (1, 1 - SECOND), (-1, 1.0)])
def test_the_gap_between_people_is_as_it_was_made(world: tuple[Dataset, Cases, Ints], men: int, expected: float):
    data, cases, counts = world
    gender = np.array(data.users["gender"].to_pylist())[cases.user]
    ranking = ranked(cases, counts, np.where(gender == "M", men, 0))
    groups = groups_of(cases, counts, data.users, "gender")
    assert [one.name for one in groups] == ["gender=F", "gender=M"]
    metric = metric_named("ndcg@10")
    found = gap(ranking, groups, metric, "ndcg@10")
    # Eight items are not in a history, so the last of them is still among ten.
    lowest = 1 / math.log2(cases.n_items - cases.histories.lengths[0] + 1) if men < 0 else None
    assert found == pytest.approx(expected if lowest is None else 1 - lowest)


def test_the_gap_between_items_counts_each_target_in_its_group():
    data = dataset(circle(n_users=200))
    log = Log.of(data)
    cases, counts = Cases.of(log, "valid"), counts_of(log)
    groups = groups_of(cases, counts, data.users, "popularity")
    assert len(groups) > 1
    assert {one.name.rpartition("_")[2] for one in groups} <= {"head", "middle", "tail"}
    first = np.zeros(len(cases), dtype=bool)
    first[groups[0].rows] = True
    ranking = ranked(cases, counts, np.where(first, 0, 1))
    assert gap(ranking, groups, metric_named("mrr@10"), "mrr@10") == pytest.approx(0.5)


def test_what_has_no_groups_is_refused_before_any_trial(world: tuple[Dataset, Cases, Ints]):
    data, cases, counts = world
    with pytest.raises(GenreError, match="the users have no column 'gendre'; they have gender; or history"):
        insist_on_groups(["ndcg@10", "gap.ndcg@10.gendre"], cases, counts, data.users)
    with pytest.raises(GenreError, match=r"'history' makes 1 group\(s\) of at least 20 of the 60 cases"):
        insist_on_groups(["gap.ndcg@10.history"], cases, counts, data.users)
    insist_on_groups(["ndcg@10", "gap.ndcg@10.gender"], cases, counts, data.users)


def test_a_trained_model_has_a_gap_that_is_of_its_own_lists():
    run = finished()
    objectives = ["ndcg@10", "gap.ndcg@10.gender"]
    values, units = objectives_of(run.config, run, objectives)
    data = Dataset.load(run.path("data"))
    gender = np.array(data.users["gender"].to_pylist())[units["user"].astype(int)]
    means = [units["value"][gender == word].mean() for word in ("F", "M")]
    assert values["gap.ndcg@10.gender"] == pytest.approx(abs(means[0] - means[1]))
    assert not larger_is_better("gap.ndcg@10.gender")


@pytest.mark.parametrize(
    ("objective", "mend"),
    [
        ("gap.ndcg@10", "write gap.ndcg@10.history"),
        ("gap", "write gap.ndcg@10.history"),
        ("gap.ndgc@10.history", "no metric named 'ndgc'"),
        ("gap.rmse.history", "'rmse' measures one head, and a gap is of rankings"),
        ("gap.coverage@10.history", "neither good nor bad"),
        ("gap.ndcg.history", "say at which cut-off"),
    ],
)
def test_a_gap_that_nothing_measures_is_told_by_check(objective: str, mend: str, tmp_path: Path):
    path = tmp_path / "c.yaml"
    text = {"data": {"reader": "movielens"}, "search": {"objectives": ["ndcg@10", objective], "pruner": "none"}}
    path.write_text(yaml.safe_dump(text), encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load(path)
    (problem,) = caught.value.problems
    assert "search.objectives[1]" in problem
    assert mend in problem


def test_a_gap_by_a_column_with_dots_is_read_whole(tmp_path: Path):
    assert Gap.of("gap.ndcg@10.lives.in") == Gap("ndcg@10", "lives.in")
    assert Gap.of("ndcg@10") is None
    path = tmp_path / "c.yaml"
    text = {"data": {"reader": "movielens"}, "search": {"objectives": ["ndcg@10", "gap.ndcg@10.age"], "pruner": "none"}}
    path.write_text(yaml.safe_dump(text), encoding="utf-8")
    assert load(path).search.objectives[1] == "gap.ndcg@10.age"


def test_baselines_stand_beside_the_model_only_where_they_are_judged_by_the_same():
    trials = [SimpleNamespace(state=SimpleNamespace(name="COMPLETE"), values=[value]) for value in (0.3, 0.1)]
    searched = {"popular": [{"value": 0.2}, {"value": 0.4}]}
    for first, larger, names in (
        ("gap.ndcg@10.history", False, ["the model"]),
        ("ndcg@10", True, ["the model", "popular"]),
    ):
        ending: Any = SimpleNamespace(found=trials, first=first, larger=larger)
        assert list(Ending._best_of_n(ending, searched)) == names
