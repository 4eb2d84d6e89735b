"""Metrics agree with independent libraries, and know when they are not defined."""

import numpy as np
import pytest
import pytrec_eval
from scipy.stats import spearmanr
from sklearn.metrics import (
    accuracy_score,
    f1_score,
    log_loss,
    mean_absolute_error,
    roc_auc_score,
    root_mean_squared_error,
)

from genre.component import Slot
from genre.metrics import Predictions, Ranking
from genre.ranking import ranks, top_lists

K = [5, 10, 20, 50]


def metric(name, **settings):
    return Slot("metrics").build({"type": name, **settings})


def ranking(scores, targets, vectors=None):
    allowed = np.ones(scores.shape, dtype=bool)
    n = scores.shape[1]
    return Ranking(
        ranks(scores, allowed, targets),
        np.full(len(scores), n, dtype=np.int32),
        top_lists(scores, allowed, 50),
        np.arange(n, dtype=np.int32),
        np.eye(n, dtype=np.float32) if vectors is None else vectors,
    )


@pytest.fixture(scope="module")
def world():
    """Random scores without ties, one to seven relevant items a unit, and the same for pytrec_eval."""
    rng = np.random.default_rng(0)
    scores = np.stack([rng.permutation(200) for _ in range(40)]).astype(np.float32)
    targets = [rng.choice(200, rng.integers(1, 8), replace=False) for _ in range(40)]
    judged = {str(u): {str(i): 1 for i in t.tolist()} for u, t in enumerate(targets)}
    run = {str(u): {str(i): float(s) for i, s in enumerate(row)} for u, row in enumerate(scores)}
    measures = {"ndcg_cut", "recall", "map_cut", "success", "recip_rank"}
    wanted = {f"{m}.{','.join(map(str, K))}" if m != "recip_rank" else m for m in measures}
    found = pytrec_eval.RelevanceEvaluator(judged, wanted).evaluate(run)
    return ranking(scores, targets), [found[str(u)] for u in range(40)], scores, targets


@pytest.mark.parametrize(
    ("name", "theirs"), [("ndcg", "ndcg_cut"), ("recall", "recall"), ("map", "map_cut"), ("hit_rate", "success")]
)
def test_ranking_metrics_agree_with_trec_eval(world, name, theirs):
    outcome, expected, *_ = world
    values = metric(name, k=K).measure(outcome)
    for k in K:
        np.testing.assert_allclose(values[f"{name}@{k}"], [one[f"{theirs}_{k}"] for one in expected], atol=1e-6)


def test_mrr_agrees_with_trec_eval(world):
    outcome, expected, *_ = world
    whole = np.array([one["recip_rank"] for one in expected])
    np.testing.assert_allclose(metric("mrr", k=[200]).measure(outcome)["mrr@200"], whole, atol=1e-6)
    cut = metric("mrr", k=[5]).measure(outcome)["mrr@5"]
    np.testing.assert_allclose(cut, np.where(whole >= 1 / 5, whole, 0), atol=1e-6)


def test_auc_of_a_ranking_agrees_with_scikit_learn(world):
    outcome, _, scores, targets = world
    expected = [roc_auc_score(np.isin(np.arange(200), t), row) for row, t in zip(scores, targets, strict=True)]
    np.testing.assert_allclose(metric("auc").measure(outcome)["auc"], expected, atol=1e-6)


def test_a_constant_scorer_is_at_chance_or_below():
    outcome = ranking(np.zeros((30, 100), dtype=np.float32), [np.array([i]) for i in range(30)])
    for name in ("hit_rate", "ndcg", "recall", "mrr", "map"):
        assert metric(name, k=[10]).measure(outcome)[f"{name}@10"].mean() <= 10 / 100
    assert metric("auc").measure(outcome)["auc"].mean() <= 0.5
    labels = Predictions(np.tile([0.0, 1.0], 50), np.full(100, 0.3), np.arange(100) // 10)
    assert metric("label_auc").measure(labels)["label_auc"] == 0.5
    assert (metric("grouped_auc").measure(labels)["grouped_auc"] == 0.5).all()


def test_label_metrics_agree_with_scikit_learn():
    rng = np.random.default_rng(1)
    truth, p = (rng.random(500) < 0.4).astype(np.float32), rng.random(500).round(2).clip(0.01, 0.99)
    outcome = Predictions(truth, p, rng.integers(0, 20, 500).astype(np.int32))
    assert metric("label_auc").measure(outcome)["label_auc"] == pytest.approx(roc_auc_score(truth, p), abs=1e-6)
    assert metric("logloss").measure(outcome)["logloss"].mean() == pytest.approx(log_loss(truth, p), abs=1e-6)
    expected = [roc_auc_score(truth[outcome.group == g], p[outcome.group == g]) for g in range(20)]
    np.testing.assert_allclose(metric("grouped_auc").measure(outcome)["grouped_auc"], expected, atol=1e-6)
    stars, guess = rng.random(500).astype(np.float32), rng.random(500).astype(np.float32)
    amounts = Predictions(stars, guess, outcome.group)
    assert metric("rmse").measure(amounts)["rmse"] == pytest.approx(root_mean_squared_error(stars, guess), abs=1e-6)
    assert metric("mae").measure(amounts)["mae"].mean() == pytest.approx(mean_absolute_error(stars, guess), abs=1e-6)


def test_calibration_error_of_a_known_gap():
    truth = np.tile([1.0, 0.0], 500).astype(np.float32)
    assert metric("calibration_error").measure(Predictions(truth, np.full(1000, 0.5), truth))[
        "calibration_error"
    ] == pytest.approx(0, abs=1e-9)
    assert metric("calibration_error").measure(Predictions(truth, np.full(1000, 0.8), truth))[
        "calibration_error"
    ] == pytest.approx(0.3, abs=1e-6)


@pytest.mark.parametrize("name", ["label_auc", "grouped_auc"])
def test_one_class_only_has_no_auc(name):
    found = metric(name).measure(Predictions(np.ones(9), np.arange(9) / 9, np.zeros(9, dtype=int)))[name]
    assert np.isnan(found).all()


def test_exposure_and_difference_of_known_lists():
    scores = np.zeros((4, 10), dtype=np.float32)
    scores[:, 3] = 1
    same = ranking(scores, [np.array([3])] * 4)
    assert metric("coverage", k=[1]).measure(same)["coverage@1"] == 0.1
    assert metric("gini", k=[1]).measure(same)["gini@1"] == pytest.approx(0.9)
    each = ranking(np.eye(10, dtype=np.float32), [np.array([0])] * 10)
    assert metric("coverage", k=[1]).measure(each)["coverage@1"] == 1.0
    assert metric("gini", k=[1]).measure(each)["gini@1"] == pytest.approx(0)
    assert metric("diversity", k=[5]).measure(each)["diversity@5"] == pytest.approx(1)
    alike = ranking(np.eye(10, dtype=np.float32), [np.array([0])] * 10, np.ones((10, 1), dtype=np.float32))
    assert metric("diversity", k=[5]).measure(alike)["diversity@5"] == pytest.approx(0, abs=1e-6)
    rare, common = (
        metric("novelty", k=[1]).measure(ranking(np.eye(10, dtype=np.float32)[[i]], [np.array([0])])) for i in (0, 9)
    )
    assert rare["novelty@1"] > common["novelty@1"]
    assert common["novelty@1"] == pytest.approx(-np.log2(10 / 55))


def test_calibration_does_not_depend_on_the_order_of_rows_that_are_predicted_alike():
    judge = metric("calibration_error")
    truth = np.repeat([1.0, 0.0], 500).astype(np.float32)
    constant = judge.measure(Predictions(truth, np.full(1000, 0.5), truth))["calibration_error"]
    assert constant == pytest.approx(0, abs=1e-9)
    rng = np.random.default_rng(0)
    p, order = rng.random(1000).round(1), rng.permutation(1000)
    one, other = (judge.measure(Predictions(truth[o], p[o], truth)) for o in (np.arange(1000), order))
    assert one["calibration_error"] == pytest.approx(other["calibration_error"], abs=1e-9)


def test_relevant_items_that_are_no_candidates_stand_below_all_others():
    scores = np.array([[3.0, 2.0, 1.0, 0.0]], dtype=np.float32)
    allowed = np.array([[True, True, True, False]])
    lists, counts, vectors = top_lists(scores, allowed, 3), np.ones(4, dtype=np.int32), np.eye(4, dtype=np.float32)
    found = ranks(scores, allowed, [np.array([0, 3])])
    outcome = Ranking(found, np.array([3], dtype=np.int32), lists, counts, vectors)
    assert metric("auc").measure(outcome)["auc"].tolist() == [0.5], "one above both others, one below both"


def test_metrics_of_classes_agree_with_scikit_learn():
    rng = np.random.default_rng(3)
    classes = np.array([1.0, 2.0, 4.0, 5.0], dtype=np.float32)
    truth = rng.choice(classes, 400, p=[0.1, 0.2, 0.3, 0.4]).astype(np.float32)
    p = rng.dirichlet(np.ones(4), 400).astype(np.float32)
    outcome = Predictions(truth, p, np.zeros(400, dtype=np.int32), classes)
    named = classes[p.argmax(1)]
    assert metric("accuracy").measure(outcome)["accuracy"].mean() == pytest.approx(accuracy_score(truth, named))
    assert metric("macro_f1").measure(outcome)["macro_f1"] == pytest.approx(f1_score(truth, named, average="macro"))
    logs = metric("multiclass_logloss").measure(outcome)["multiclass_logloss"]
    assert logs.mean() == pytest.approx(log_loss(truth, p, labels=classes), abs=1e-5)


def test_a_class_that_training_lacks_is_never_right():
    truth = np.array([1.0, 1.0, 3.0, 9.0], dtype=np.float32)
    p = np.array([[0.9, 0.1], [0.2, 0.8], [0.9, 0.1], [0.1, 0.9]], dtype=np.float32)
    outcome = Predictions(truth, p, np.zeros(4, dtype=np.int32), np.array([1.0, 2.0], dtype=np.float32))
    assert metric("accuracy").measure(outcome)["accuracy"].tolist() == [1, 0, 0, 0]
    logs = metric("multiclass_logloss").measure(outcome)["multiclass_logloss"]
    np.testing.assert_allclose(logs, -np.log([0.9, 0.2, 1e-7, 1e-7]), rtol=1e-6)
    # Of the class 1 one of two is found and one of two named is right; 2 is named in vain, the other two never.
    assert metric("macro_f1").measure(outcome)["macro_f1"] == pytest.approx(np.mean([0.5, 0, 0]))


def test_rank_correlation_agrees_with_scipy():
    rng = np.random.default_rng(4)
    truth, p = rng.integers(0, 5, 300).astype(np.float32), rng.random(300).round(1).astype(np.float32)
    found = metric("spearman").measure(Predictions(truth, p, truth))["spearman"]
    assert found == pytest.approx(spearmanr(truth, p).statistic)
    assert np.isnan(metric("spearman").measure(Predictions(truth, np.full(300, 2.0), truth))["spearman"])


# Class of each token: 0 outside, 1 B-name, 2 I-name, 3 B-place, 4 I-place; values by seqeval's definition, by hand.
@pytest.mark.parametrize(
    ("truth", "said", "text", "f1"),
    [
        ([0, 1, 2, 0, 3], [0, 1, 2, 0, 3], [0] * 5, 1.0),
        ([0, 1, 2, 0, 3], [0, 1, 0, 0, 3], [0] * 5, 0.5),
        ([1, 2, 0, 0], [3, 4, 0, 0], [0] * 4, 0.0),
        ([1, 1, 0], [1, 2, 0], [0] * 3, 0.0),
        ([1, 2, 0], [2, 2, 0], [0] * 3, 1.0),
        ([1, 3, 4], [1, 4, 4], [0] * 3, 1.0),
        ([1, 2, 3], [1, 2, 4], [0] * 3, 1.0),
        ([1, 2, 2, 2], [1, 2, 1, 2], [0, 0, 1, 1], 1.0),
        ([1, 2, 2, 2], [1, 2, 1, 2], [0, 0, 0, 0], 0.0),
        ([0, 0, 1], [1, 0, 0], [0, 0, 1], 0.0),
        ([1, 0, 1, 0, 3], [1, 0, 1, 0, 0], [0] * 5, 0.8),
        ([0, 0], [0, 0], [0, 0], None),
        ([0, 0], [0, 1], [0, 0], 0.0),
        ([0, 1], [0, 0], [0, 0], 0.0),
    ],
)
def test_places_count_where_both_ends_and_the_label_are_right(truth, said, text, f1):
    outcome = Predictions(*(np.array(one, dtype=np.float32) for one in (truth, said)), np.array(text, dtype=np.int32))
    found = metric("entity_f1").measure(outcome)["entity_f1"]
    assert np.isnan(found) if f1 is None else found == pytest.approx(f1)


def test_perplexity_of_a_uniform_guess_is_the_number_of_words():
    said = np.full(7, -np.log(50.0), dtype=np.float32)
    found = metric("perplexity").measure(Predictions(np.ones(7, dtype=np.float32), said, np.zeros(7, dtype=np.int32)))
    assert found["perplexity"] == pytest.approx(50, rel=1e-5)


def test_a_text_drawn_twice_counts_as_two_texts():
    from genre.taskmeasures import _on_rows

    # Text 0: the place was found; text 1: it was not. Classes are 0 outside, 1 first, 2 inside.
    truth, said = np.array([1, 2, 0, 1, 2, 0]), np.array([1, 2, 0, 0, 0, 0])
    group = np.array([0, 0, 0, 1, 1, 1], dtype=np.int32)
    predictions = Predictions(truth.astype(np.float32), said.astype(np.float32), group)
    metric = Slot("metrics").build("entity_f1")
    once = _on_rows(metric, "entity_f1", predictions, np.arange(6))
    assert once == pytest.approx(2 / 3)
    twice = _on_rows(metric, "entity_f1", predictions, np.repeat(np.arange(6), 2))
    assert twice == pytest.approx(once)
    right_three_times = _on_rows(metric, "entity_f1", predictions, np.repeat(np.arange(3), 3))
    assert right_three_times == 1.0
