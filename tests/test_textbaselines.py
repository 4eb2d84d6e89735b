"""Baselines of text to label: they find what is there to find, and say nothing where there is nothing."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from genre.textbaselines import STRENGTHS, TextRows, fit_text_baselines

GOOD, BAD, PLAIN = ("lovely", "perfect", "soft"), ("itchy", "awful", "torn"), ("dress", "shirt", "blue", "size", "arm")


def reviews(n: int, seed: int = 0, chinese: bool = False) -> tuple[list[str], np.ndarray]:
    """Texts of plain words and one to three good or bad ones, and how many more of the good."""
    rng = np.random.default_rng(seed)
    good, bad, plain = ("很漂亮", "喜欢", "舒服"), ("很差", "失望", "退货"), ("衣服", "裙子", "蓝色", "尺码", "袖子")
    if not chinese:
        good, bad, plain = GOOD, BAD, PLAIN
    texts, sums = [], []
    for _ in range(n):
        sign = rng.choice([-1, 1], size=rng.integers(1, 4))
        words = [str(rng.choice(good if s > 0 else bad)) for s in sign] + [str(w) for w in rng.choice(plain, 6)]
        rng.shuffle(words)
        texts.append(("" if chinese else " ").join(words))
        sums.append(sign.sum())
    return texts, np.array(sums, dtype=np.float32)


def rows(n: int, seed: int, label, **how) -> TextRows:
    texts, sums = reviews(n, seed, **how)
    return TextRows(texts, label(sums).astype(np.float32))


def parts(label, **how) -> tuple[TextRows, TextRows, TextRows]:
    return rows(200, 0, label, **how), rows(50, 1, label, **how), rows(100, 2, label, **how)


@pytest.mark.parametrize("chinese", [False, True])
def test_a_binary_label_is_ranked_by_its_words_in_any_script(chinese):
    train, valid, test = parts(lambda sums: sums > 0, chinese=chinese)
    found = fit_text_baselines("binary", train, valid)
    predicted = found["tfidf"](test.texts)
    assert predicted.dtype == np.float32
    assert predicted.shape == (100,)
    assert 0 < predicted.min() < predicted.max() < 1
    assert roc_auc_score(test.label, predicted) > 0.97
    assert np.allclose(found["global_mean"](test.texts), np.append(train.label, valid.label).mean(), atol=1e-6)
    assert found["tfidf"].valid < found["global_mean"].valid
    chosen = found["tfidf"].choice
    assert chosen is not None
    assert not chinese or chosen.ngrams == "char_wb"


def test_an_amount_is_nearer_than_its_mean_and_never_beyond_what_was_seen():
    train, valid, test = parts(lambda sums: 3 + np.clip(sums, -2, 2))
    found = fit_text_baselines("regression", train, valid)
    errors = {name: float(np.square(fitted(test.texts) - test.label).mean()) for name, fitted in found.items()}
    assert errors["tfidf"] < 0.3 * errors["global_mean"]
    assert found["tfidf"](["lovely perfect soft " * 50]).max() <= 5


def test_counts_are_positive_and_follow_their_words():
    train, valid, test = parts(lambda sums: np.round(np.exp(sums)))
    found = fit_text_baselines("regression", train, valid, count=True)
    predicted = found["tfidf"](test.texts)
    assert predicted.min() > 0
    assert found["tfidf"].choice is not None
    assert found["tfidf"].choice.strength in STRENGTHS["poisson"]
    assert np.square(predicted - test.label).mean() < 0.5 * np.square(found["global_mean"]([""]) - test.label).mean()
    assert np.corrcoef(predicted, test.label)[0, 1] > 0.7


def test_classes_get_a_probability_each_and_one_that_never_was_seen_a_small_one():
    train, valid, test = parts(lambda sums: np.sign(sums) + 1)
    found = fit_text_baselines("multiclass", train, valid, classes=4)
    assert set(found) == {"majority", "tfidf"}
    for fitted in found.values():
        predicted = fitted(test.texts)
        assert predicted.shape == (100, 4)
        np.testing.assert_allclose(predicted.sum(1), 1, atol=1e-5)
        assert 0 < predicted[:, 3].max() < 0.01
    assert (found["tfidf"](test.texts).argmax(1) == test.label).mean() > 0.9
    shares = np.bincount(np.append(train.label, valid.label).astype(int)) / 250
    np.testing.assert_allclose(found["majority"]([""])[0, :3], shares, atol=0.01)


def test_without_validation_rows_some_of_training_choose():
    train, _, test = parts(lambda sums: sums > 0)
    found = fit_text_baselines("binary", train, TextRows([], np.zeros(0, dtype=np.float32)))
    assert roc_auc_score(test.label, found["tfidf"](test.texts)) > 0.97
    assert np.isfinite(found["tfidf"].valid)


@pytest.mark.parametrize("predicts", ["binary", "regression", "multiclass"])
@pytest.mark.parametrize("n", [0, 1, 2, 3])
def test_hardly_any_rows_give_finite_predictions(predicts, n):
    texts, _ = reviews(n)
    nothing = TextRows([], np.zeros(0, dtype=np.float32))
    found = fit_text_baselines(predicts, TextRows(texts, np.arange(n, dtype=np.float32) % 2), nothing)
    for fitted in found.values():
        assert np.isfinite(fitted(["lovely", ""])).all()
        assert len(fitted([])) == 0


def test_where_all_labels_are_equal_or_no_text_says_anything_only_the_mean_is_left():
    texts, sums = reviews(40)
    ones = np.ones(40, dtype=np.float32)
    valid = TextRows(texts[:10], ones[:10])
    assert set(fit_text_baselines("binary", TextRows(texts, ones), valid)) == {"global_mean"}
    assert set(fit_text_baselines("multiclass", TextRows(texts, ones), valid)) == {"majority"}
    empty = fit_text_baselines("regression", TextRows([""] * 40, sums), TextRows([" "] * 10, sums[:10]))
    assert set(empty) == {"global_mean"}


def test_an_empty_text_among_others_gets_an_answer():
    train, valid, _ = parts(lambda sums: sums > 0)
    train = TextRows(["", *train.texts], np.append(np.float32(1), train.label))
    predicted = fit_text_baselines("binary", train, valid)["tfidf"](["", "zzz"])
    assert ((predicted > 0) & (predicted < 1)).all()


def test_a_refit_gives_the_same_predictions():
    train, valid, test = parts(lambda sums: sums > 0)
    first, second = (fit_text_baselines("binary", train, valid)["tfidf"](test.texts) for _ in range(2))
    np.testing.assert_array_equal(first, second)
