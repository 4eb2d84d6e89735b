"""Choosing settings and learning to combine: on validation, shared, and never twice."""

import json
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from finished import finished
from genre.cases import Cases
from genre.component import Slot, component
from genre.data import Dataset, Log
from genre.datasets import Reading
from genre.errors import GenreError
from genre.pipeline import Pipeline
from genre.rank import fit_scorer, rank
from genre.run import Run
from genre.sources import Resources
from genre.sources.ease import EASE
from genre.tuning import Tuner, combinations
from toyworld import circle, config, dataset, tiny_backbone


@component
class Ahead:
    """Scores highest the item that stands ``steps`` further on the circle: only ``steps=1`` is right."""

    steps: int = 5
    GRID = {"steps": [3, 1, 2]}  # noqa: RUF012
    fits = []  # noqa: RUF012

    def fit(self, log, resources):
        self.fits.append(self.steps)
        return {}

    def score(self, state, histories, resources):
        n = resources.items.num_rows
        last = histories.item[histories.offsets[1:] - 1]
        return (np.arange(n) == ((last + self.steps) % n)[:, None]).astype(np.float32)


@pytest.fixture
def tuner(tmp_path):
    data = dataset(circle(n_users=20))
    log = Log.of(data)
    vectors = np.eye(data.items.num_rows, dtype=np.float32)
    resources = Resources(data.items, lambda: vectors, lambda texts: vectors[: len(texts)])
    metrics = [Slot("metrics").build("recall@1")]
    Ahead.fits.clear()
    return Tuner(log.parts("train"), Cases.of(log, "valid"), metrics, resources, tmp_path, {"seed": 7})


def test_the_setting_that_is_best_on_validation_is_chosen(tuner):
    tuned = tuner.tune(Ahead())
    assert tuned.source == Ahead(steps=1)
    assert [(t["settings"]["steps"], t["ndcg@10"] == 1) for t in tuned.trials] == [(3, False), (1, True), (2, False)]
    assert tuned.valid["recall@1"] == 1


def test_a_second_stage_finds_what_the_first_one_chose(tuner):
    first = tuner.tune(Ahead())
    Ahead.fits.clear()
    assert tuner.tune(Ahead()) == first
    assert Ahead.fits == []


def test_a_field_that_is_set_is_not_tuned(tuner):
    assert tuner.tune(Ahead(steps=4)).source == Ahead(steps=4)
    assert Ahead.fits == [4]


def test_combinations_are_of_the_free_fields_only():
    transitions = Slot("sources").build({"type": "transitions", "lags": 2})
    grid = type(transitions).GRID
    tried = list(combinations(transitions))
    assert len(tried) == len(grid["power"]) * len(grid["window"])
    assert all("lags" not in one for one in tried)
    assert list(combinations(Slot("sources").build("popular"))) == [{}]


def test_the_scorer_learns_which_source_to_trust(tuner):
    data = dataset(circle(n_users=20))
    sources = {"right": Ahead(steps=1), "wrong": Ahead(steps=3)}
    scorer = Slot("scorers").build("weighted")
    pipeline = Pipeline(data, tuner.resources, sources, {name: {} for name in sources}, {}, scorer, {})
    fitted = fit_scorer(pipeline, tuner.cases, tuner.catalogue, seed=0)
    assert fitted.facts["held_out"] == {"cases": 10, "ndcg@10": 1.0}
    assert fitted.state["weights"][0] > 10 * fitted.state["weights"][1]
    assert list(fitted.facts["shares"]) == ["right", "wrong"]
    assert fitted.facts["retrieved"] == fitted.facts["targets"] == fitted.facts["cases"] == 20


def test_a_source_that_fails_stops_the_fitting(tuner):
    scorer = Slot("scorers").build("weighted")
    model = Slot("sources").build("model")
    pipeline = Pipeline(dataset(circle(n_users=20)), tuner.resources, {"model": model}, {"model": {}}, {}, scorer, {})
    with pytest.raises(GenreError, match="no trained model here"):
        fit_scorer(pipeline, tuner.cases, tuner.catalogue, seed=0)


def test_the_stage_is_not_done_again_and_serves_sources_fitted_on_train_and_validation():
    run = finished()
    before = (run.path("rank") / "manifest.json").stat().st_mtime_ns
    rank(run.config, run)
    assert (run.path("rank") / "manifest.json").stat().st_mtime_ns == before
    settings = json.loads((run.path("rank") / "settings.json").read_text())
    assert list(settings) == ["model", "ease", "transitions", "popular"]
    assert settings["ease"]["source"]["reg"] in EASE.GRID["reg"]
    assert len(settings["ease"]["trials"]) == len(EASE.GRID["reg"])
    log = Log.of(Dataset.load(run.path("data"))).parts("train", "valid")
    counts = np.bincount(log.item, minlength=log.n_items)
    np.testing.assert_array_equal(Pipeline.load(run.folder).states["popular"]["counts"], counts)


def test_a_baseline_that_is_also_a_source_is_tuned_once():
    found = sorted(path.name.rpartition("-")[0] for path in (finished().path("tuning")).glob("*.json"))
    assert found == ["content_knn", "ease", "model", "popular", "transitions"]


def test_cases_are_users_with_something_new(tmp_path):
    data = dataset(circle(n_users=10))
    log = Log.of(data)
    cases = Cases.of(log, "test")
    assert len(cases) == 10
    for i, user in enumerate(cases.user):
        assert cases.targets[i].tolist() == log.parts("test").item[log.parts("test").user == user].tolist()
        had = log.parts("train", "valid")
        np.testing.assert_array_equal(cases.histories.take([i]).item, had.item[had.user == user])
        assert not set(cases.targets[i]) & set(np.flatnonzero(~cases.take([i]).allowed()[0]))
    blocks = list(cases.blocks(cells=3 * log.n_items))
    assert [len(block) for block in blocks] == [3, 3, 3, 1]
    assert np.concatenate([block.user for block in blocks]).tolist() == cases.user.tolist()


def test_an_item_that_the_user_had_before_is_no_target_and_is_counted():
    log = Log.of(dataset(circle(n_users=10, n_items=11, length=12)))
    cases = Cases.of(log, "valid")
    assert (len(cases), cases.repeated) == (10, 0)
    with pytest.raises(GenreError, match="test part holds no item new to its user"):
        Cases.of(log, "test")


def shown(n_users: int = 6, n_impressions: int = 10) -> Reading:
    """Impressions of four of eight items; each user clicks one of the three from the user's own number on, in turn."""
    rng = np.random.default_rng(0)
    rows = []
    for m in range(n_impressions):
        for u in range(n_users):
            chosen = (u + m % 3) % 8
            for i in {chosen, *rng.choice(8, 3, replace=False).tolist()}:
                rows.append((f"u{u}", f"i{i}", "click" if i == chosen else "skip", f"m{u}-{m}", 100.0 * m + u))
    names = ("user_id", "item_id", "action", "impression_id", "timestamp")
    columns = {name: [row[j] for row in rows] for j, name in enumerate(names)}
    return Reading(pa.table({**columns, "file": ["f"] * len(rows), "line": list(range(len(rows)))}), name="shown")


def test_impressions_rank_what_was_shown_together():
    log = Log.of(dataset(shown(), split={"type": "impressions", "valid": 0.2, "test": 0.2}))
    cases, test = Cases.of(log, "test", "impression"), log.parts("test")
    assert len(cases) == len(np.unique(test.impression)) == 12
    assert (cases.impression >= 0).all()
    assert cases.allowed().sum() == len(test)
    assert sorted(int(t[0]) for t in cases.targets) == sorted(test.item[test.positive].tolist())
    assert cases.histories.lengths.tolist() == (log.before("test").positive.sum() // 6 * np.ones(12)).tolist()


def test_shown_ranks_all_that_a_person_was_shown_in_the_part():
    log = Log.of(dataset(shown(), split={"type": "impressions", "valid": 0.2, "test": 0.2}))
    cases, test = Cases.of(log, "test", "shown"), log.parts("test")
    assert len(cases) == 6
    assert (cases.impression == -1).all()
    for user, targets, allowed in zip(cases.user, cases.targets, cases.allowed(), strict=True):
        mine = test.user == user
        assert np.flatnonzero(allowed).tolist() == np.unique(test.item[mine]).tolist()
        assert targets.tolist() == np.unique(test.item[mine & test.positive]).tolist()
    clicked = replace(log, action=np.full_like(log.action, log.actions.index("click")))
    with pytest.raises(GenreError, match="test part holds no user who chose one item and passed over another"):
        Cases.of(clicked, "test", "shown")


def test_impressions_are_evaluated_though_their_items_were_seen(tmp_path, monkeypatch):
    from genre.evaluate import evaluate
    from genre.train import train

    monkeypatch.setenv("GENRE_CACHE", str(tmp_path / "cache"))
    settings = {
        "model": {"template": "{item_id}", "heads": {"click": {"type": "binary", "label": "action == 'click'"}}},
        "pipeline": {"sources": ["item_knn", "popular"]},
        "train": {"warmup_epochs": 1, "epochs": 0, "early_stopping": {"metric": "click.label_auc"}},
        "evaluate": {"candidates": "impression", "baselines": ["popular"], "bootstrap": 50},
    }
    conf = config(tiny_backbone(tmp_path / "bert"), **settings)
    run = Run.create(conf, tmp_path)
    dataset(shown(), split={"type": "impressions", "valid": 0.2, "test": 0.2}).save(run.path("data"))
    for stage in (train, rank, evaluate):
        stage(conf, run)
    result = json.loads((run.path("evaluate") / "metrics.json").read_text())
    assert result["contract"]["grouping"] == "impression"
    assert (result["contract"]["users"], result["contract"]["cases"]) == (6, 12)
    assert result["systems"]["popular"]["ndcg@5"]["value"] > 0
    assert "click.grouped_auc" in result["systems"]["user_item_bias"]
    assert "click.label_auc" in result["systems"]["model"]
    assert "ndcg@5" not in result["systems"]["model"], "this model has no head that ranks"
