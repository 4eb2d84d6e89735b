"""Numbers that are right, intervals that cover, verdicts that do not claim too much."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finished import finished
from genre import systems
from genre.baselines import Labelled, fit_baselines, user_item_bias, user_mean
from genre.cases import Cases
from genre.comparisons import Measured, Resamples, best_by_validation, compare, gate
from genre.component import Slot
from genre.data import Dataset, Log
from genre.evaluate import evaluate, show
from genre.metrics import Predictions
from genre.rank import rank
from genre.run import Run
from genre.slices import slices
from genre.systems import Catalogue, mean, measure, rank_cases, subset
from genre.tasks import reliability
from genre.train import train
from toyworld import circle, config, dataset, tiny_backbone


@pytest.fixture(scope="module")
def result() -> dict:
    return json.loads((finished().path("evaluate") / "metrics.json").read_text())


def test_the_result_contract(result):
    assert {"contract", "systems", "comparisons", "slices", "cost"} <= set(result)
    contract = result["contract"]
    assert contract["users"] == contract["cases"] == 80
    assert contract["candidates"] == "all_unseen"
    assert contract["grouping"] == "user"
    assert contract["k"] == [5, 10, 20, 50]
    assert contract["data_hash"] == Dataset.load(finished().path("data")).hash
    ours = ["genre", "genre_before", "model", "model_before", "pretrained"]
    means = ["global_mean", "user_mean", "item_mean", "user_item_bias"]
    assert list(result["systems"]) == [*ours, "popular", "ease", "transitions", "content_knn", *means]
    for found in result["systems"].values():
        for measured in found.values():
            assert set(measured) == {"value", "ci95"}
            if measured["ci95"]:
                assert measured["ci95"][0] <= measured["value"] + 1e-6
                assert measured["value"] - 1e-6 <= measured["ci95"][1]


def test_the_circle_is_solved_by_those_who_see_order_and_by_nobody_else(result):
    values = {name: found["ndcg@10"]["value"] for name, found in result["systems"].items() if "ndcg@10" in found}
    assert values["model"] == values["genre"] == values["transitions"] == 1
    assert max(values["popular"], values["ease"], values["pretrained"]) < 0.9
    assert result["best_baseline"]["ndcg@10"] == "transitions"
    assert result["gate"]["verdict"] == "no difference"
    assert "no difference is shown" in result["gate"]["sentence"]
    verdicts = {(c["a"], c["b"]): c["verdict"] for c in result["comparisons"] if c["metric"] == "ndcg@10"}
    assert verdicts["genre", "popular"] == verdicts["model", "pretrained"] == "better"
    assert verdicts["model", "model_before"] == "no difference"


def test_heads_stand_beside_baselines(result):
    rating = {
        name: found["rating.rmse"]["value"] for name, found in result["systems"].items() if "rating.rmse" in found
    }
    assert set(rating) == {"model", "model_before", "global_mean", "user_mean", "item_mean", "user_item_bias"}
    assert rating["item_mean"] == pytest.approx(0, abs=1e-6), "an item's label never changes on the circle"
    assert rating["global_mean"] == pytest.approx(2, abs=0.1)
    like = result["systems"]["item_mean"]["like.label_auc"]
    assert like["value"] == 1
    assert like["ci95"] == [1, 1]
    assert any(
        c["a"] == "model" and c["b"] == "user_item_bias" and c["metric"] == "rating.rmse" for c in result["comparisons"]
    )
    assert result["tasks"]["like"]["rows"] == 80


def test_slices_are_by_history_item_and_every_attribute(result):
    names = set(result["slices"])
    assert {"user_history_6_20", "gender=F", "gender=M", "item_popularity_head"} <= names
    assert "cold_items" not in names, "every item of the circle was trained on"
    assert result["slices"]["gender=F"]["n"] + result["slices"]["gender=M"]["n"] == 80
    ours = {"genre", "model", "model_before", "pretrained"}
    assert set(result["slices"]["gender=F"]["systems"]) == ours | {"transitions"}
    assert {"item_interactions_20_up"} <= names, "80 people walk over each of 20 items some 40 times"
    assert not {"item_interactions_under_5", "item_interactions_1_4"} & names
    beside = {(c["a"], c["b"]): c["verdict"] for c in result["slices"]["gender=F"]["comparisons"]}
    assert beside["genre", "pretrained"] == "better"
    assert beside["genre", "transitions"] == beside["model", "model_before"] == "no difference"


def test_cost_is_told(result):
    cost = result["cost"]
    assert cost["train_seconds"] > 0
    assert cost["peak_rss_mb"] > 10
    assert cost["trainable_parameters"] > 1000
    assert set(cost["stages"]) >= {"model", "rank"}
    assert set(cost["seconds_by_system"]) >= {"genre", "ease"}


def test_every_mean_can_be_made_again_from_the_units(result):
    table = pq.read_table(finished().path("evaluate") / "units.parquet")
    systems, values = np.array(table["system"].to_pylist()), table["ndcg@10"].to_numpy()
    for name in set(systems):
        assert values[systems == name].mean() == pytest.approx(result["systems"][name]["ndcg@10"]["value"], abs=1e-6)
    assert len(set(table["user_id"].to_pylist())) == 80


def test_examples_mark_what_was_chosen():
    found = json.loads((finished().path("evaluate") / "examples.json").read_text())
    assert len(found) == 3
    for person in found:
        top = person["systems"]["model"]["items"][0]
        assert top["hit"]
        assert top["title"] in person["next"]
        assert person["systems"]["model"]["best_rank"] == 1


def test_the_stage_is_not_done_again():
    run = finished()
    before = (run.path("evaluate") / "metrics.json").stat().st_mtime_ns
    evaluate(run.config, run)
    assert (run.path("evaluate") / "metrics.json").stat().st_mtime_ns == before


def test_the_table_and_the_verdict_are_printed(result, capsys):
    show(result)
    printed = capsys.readouterr().out
    assert "transitions" in printed
    assert "1.0000 [1.0000, 1.0000]" in printed
    assert "no difference is shown" in printed


def test_a_constant_scorer_is_no_better_than_chance():
    data = dataset(circle(n_users=30))
    log = Log.of(data)
    cases = Cases.of(log, "test")
    catalogue = Catalogue(np.ones(log.n_items, dtype=np.int32), np.eye(log.n_items, dtype=np.float32))
    ranking = rank_cases(lambda block: np.zeros((len(block), log.n_items), dtype=np.float32), cases, catalogue)
    values = measure(ranking, [Slot("metrics").build("auc"), Slot("metrics").build("ndcg@5")])
    assert mean(values["auc"]) == 0
    assert mean(values["ndcg@5"]) == 0


def test_blocks_change_nothing(monkeypatch):
    log = Log.of(dataset(circle(n_users=30)))
    cases = Cases.of(log, "test")
    table = np.random.default_rng(0).random((log.n_users, log.n_items)).astype(np.float32)
    catalogue = Catalogue(np.ones(log.n_items, dtype=np.int32), np.eye(log.n_items, dtype=np.float32))
    whole = rank_cases(lambda block: table[block.user], cases, catalogue)
    monkeypatch.setattr(Cases, "blocks", lambda self: (self.take(slice(i, i + 7)) for i in range(0, len(self), 7)))
    parts = rank_cases(lambda block: table[block.user], cases, catalogue)
    assert [r.tolist() for r in whole.ranks] == [r.tolist() for r in parts.ranks]
    np.testing.assert_array_equal(whole.lists, parts.lists)


def test_intervals_cover_the_truth_about_as_often_as_they_say():
    rng, covered = np.random.default_rng(0), 0
    for i in range(200):
        values = rng.normal(0.3, 1.0, 80)
        low, high = Resamples.of(np.arange(80), 300, i).means({"x": values})["x"].as_json()["ci95"]
        covered += low <= 0.3 <= high
    assert 0.88 <= covered / 200 <= 0.99


def test_whole_users_are_drawn():
    """A hundred equal rows of one user say no more than one row."""
    rng = np.random.default_rng(0)
    own = rng.normal(size=20)
    rows, users = np.repeat(own, 100), np.repeat(np.arange(20), 100)
    clustered = Resamples.of(users, 400, 0).means({"x": rows})["x"].as_json()
    single = Resamples.of(np.arange(20), 400, 0).means({"x": own})["x"].as_json()
    assert clustered["ci95"] == pytest.approx(single["ci95"], abs=1e-5)


@settings(max_examples=30)
@given(st.lists(st.one_of(st.floats(-100, 100), st.just(float("nan"))), min_size=1, max_size=30), st.integers(0, 9))
def test_a_mean_over_rows_and_one_computed_anew_agree(values, seed):
    array = np.array(values)
    resamples = Resamples.of(np.arange(len(array)) // 2, 40, seed)

    def again(rows):
        known = array[rows][np.isfinite(array[rows])]
        return float(known.mean()) if len(known) else float("nan")

    fast, slow = resamples.means({"x": array})["x"], resamples.of_rows(again, 40)
    if fast.value is not None:
        centre = fast.value - np.nanmean(fast.draws)
        np.testing.assert_allclose(fast.draws + centre, slow.draws, atol=1e-3)
    assert fast.value == pytest.approx(slow.value) if fast.value is not None else slow.value is None


def test_verdicts_claim_only_what_the_interval_shows():
    rng = np.random.default_rng(0)
    base, n = rng.random(200), 500
    resamples = Resamples.of(np.arange(200), n, 0)
    found = resamples.means({"a": base, "up": base + 0.01, "noise": base + rng.normal(0, 1, 200)})
    assert compare(found["up"], found["a"], larger_is_better=True)["verdict"] == "better"
    assert compare(found["up"], found["a"], larger_is_better=False)["verdict"] == "worse"
    assert compare(found["noise"], found["a"], larger_is_better=True)["verdict"] == "no difference"
    same = compare(found["a"], found["a"], larger_is_better=True)
    assert (same["difference"], same["verdict"], same["p"]) == (0, "no difference", 1)
    assert compare(found["a"], Measured(None), larger_is_better=True) is None


def test_the_best_baseline_is_named_by_validation():
    valid = {"a": {"ndcg@10": 0.2, "rmse": 1.0}, "b": {"ndcg@10": 0.3, "rmse": 2.0}, "c": {"ndcg@10": None}}
    best = best_by_validation(valid, {"ndcg@10": True, "rmse": False, "mrr": True})
    assert best == {"ndcg@10": "b", "rmse": "a"}
    draws = np.linspace(0.1, 0.2, 100)
    systems = {"genre": {"ndcg@10": Measured(0.3, draws + 0.1)}, "b": {"ndcg@10": Measured(0.2, draws)}}
    found = gate("ndcg@10", best, systems, larger_is_better=True)
    assert found["sentence"] == (
        "By ndcg@10, GENRE is better than its best baseline (b): 0.3000 against 0.2000, "
        "difference +0.1000, 95 % interval +0.1000 to +0.1000."
    )
    assert gate("mrr", best, systems, larger_is_better=True) is None


def test_label_baselines_find_generous_users_and_good_items():
    rng = np.random.default_rng(0)
    of_user, of_item = rng.normal(0, 1, 50), rng.normal(0, 1, 40)
    user, item = rng.integers(0, 50, 3000), rng.integers(0, 40, 3000)
    label = (3 + of_user[user] + of_item[item]).astype(np.float32)
    rows = Labelled(user, item, label, 50, 40)
    predict = user_item_bias(rows, 0.0)
    np.testing.assert_allclose(predict(user, item), label, atol=0.01)
    fitted = fit_baselines("regression", rows, rows, rows)
    assert fitted["user_item_bias"].valid < 0.01 < fitted["user_mean"].valid < fitted["global_mean"].valid
    assert fitted["user_item_bias"].shrinkage == 0


def test_shrinkage_pulls_a_user_of_few_rows_to_the_mean():
    rows = Labelled(np.array([0, 1, 1, 1]), np.zeros(4, dtype=int), np.array([1, 0, 0, 0], dtype=np.float32), 3, 1)
    free, shrunk = (user_mean(rows, s)(np.array([0, 2]), np.array([0, 0])) for s in (0.0, 3.0))
    assert free == pytest.approx([1.0, 0.25])
    assert shrunk == pytest.approx([0.25 + 0.75 / 4, 0.25])


def test_probabilities_stay_inside_of_their_range():
    rows = Labelled(np.array([0, 1]), np.array([0, 1]), np.array([0, 1], dtype=np.float32), 2, 2)
    for fitted in fit_baselines("binary", rows, rows, rows).values():
        predicted = fitted.predict(np.array([0, 1]), np.array([0, 1]))
        assert ((predicted > 0) & (predicted < 1)).all()


def test_reliability_bins_hold_all_rows():
    rng = np.random.default_rng(0)
    p = rng.random(1000).astype(np.float32)
    bins = reliability(Predictions((rng.random(1000) < p).astype(np.float32), p, np.arange(1000)))
    assert sum(b["n"] for b in bins) == 1000
    assert all(abs(b["predicted"] - b["observed"]) < 0.2 for b in bins)


def test_the_interval_of_a_measure_that_is_no_mean_holds_its_value():
    rng = np.random.default_rng(1)
    p = rng.uniform(0.2, 0.8, 300).astype(np.float32)
    truth, error = (rng.random(300) < p).astype(np.float32), Slot("metrics").build("calibration_error")

    def again(rows):
        return float(error.measure(Predictions(truth[rows], p[rows], rows))["calibration_error"])

    low, high = Resamples.of(np.arange(300), 200, 0).of_rows(again, 200).as_json()["ci95"]
    assert low < again(np.arange(300)) < high


def test_slices_of_items_count_only_their_targets():
    data = dataset(circle(n_users=40), split={"type": "last", "test": 2})
    log = Log.of(data)
    cases = Cases.of(log, "test")
    counts = np.bincount(log.parts("train").item, minlength=log.n_items)
    counts[:10] = 0
    users = pa.table(
        {
            "user_id": data.users["user_id"],
            "age": [20 + 10 * (i % 2) for i in range(40)],
            "zip": [10000 + 7 * i for i in range(40)],
        }
    )
    found = {one.name: one for one in slices(cases, counts, users)}
    cold = found["cold_items"]
    assert found["item_interactions_under_5"].rows.tolist() == cold.rows.tolist()
    assert set(cold.rows) == {i for i, items in enumerate(cases.targets) if (items < 10).any()}
    catalogue = Catalogue(counts, np.eye(log.n_items, dtype=np.float32))
    ranking = rank_cases(
        lambda block: np.tile(np.arange(log.n_items, dtype=np.float32), (len(block), 1)), cases, catalogue
    )
    part = subset(ranking, cold.rows, cold.targets)
    assert [len(r) for r in part.ranks] == [int((cases.targets[i] < 10).sum()) for i in cold.rows]
    assert {"age=18_24", "age=25_34"} <= set(found)
    assert not any(name.startswith("zip") for name in found)


def test_classes_are_measured_beside_shares(tmp_path, monkeypatch):
    monkeypatch.setenv("GENRE_CACHE", str(tmp_path / "cache"))
    conf = config(
        tiny_backbone(tmp_path / "bert"),
        model={"heads": {"next": "next_item", "stars": {"type": "multiclass", "label": "value"}}},
        pipeline={"sources": ["model", "popular"]},
        evaluate={"bootstrap": 50, "baselines": ["popular"], "examples": 1},
        train={"warmup_epochs": 8, "epochs": 0},
    )
    run = Run.create(conf, tmp_path)
    dataset(circle()).save(run.path("data"))
    asked = []
    measured = systems.rank_cases
    monkeypatch.setattr("genre.evaluate.rank_cases", lambda *args: asked.append(1) or measured(*args))
    for stage in (train, rank, evaluate):
        stage(conf, run)
    found = json.loads((run.path("evaluate") / "metrics.json").read_text())["systems"]
    assert found["model_before"]["ndcg@10"] == found["model"]["ndcg@10"], "nothing was fine-tuned"
    assert len(asked) == 4, "genre, model, pretrained, popular: what is one model is asked once"
    assert found["model"]["stars.accuracy"]["value"] > 0.9
    assert found["item_mean"]["stars.accuracy"]["value"] == 1.0
    assert 0.3 < found["global_mean"]["stars.accuracy"]["value"] < 0.7
    assert found["item_mean"]["stars.multiclass_logloss"]["value"] < 0.1
