"""Sources on worlds with known answers; the contract that all keep is in test_components."""

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from scipy import sparse

from genre.cases import Cases
from genre.component import Slot, describe
from genre.data import Histories, Log
from genre.errors import GenreError
from genre.sources import Resources, ease, item_knn
from genre.tuning import CRITERION, Tuner
from toyworld import circle, dataset

ITEMS = 20


def log_of(pairs, n_users, n_items=ITEMS, times=None):
    user, item = (np.array(x, dtype=np.int32) for x in zip(*pairs, strict=True))
    n = len(user)
    return Log(
        user=user,
        item=item,
        action=np.zeros(n, dtype=np.int32),
        value=np.full(n, np.nan, dtype=np.float32),
        time=np.arange(n, dtype=float) if times is None else np.array(times, dtype=float),
        impression=np.full(n, -1, dtype=np.int32),
        part=np.zeros(n, dtype=np.int8),
        n_users=n_users,
        n_items=n_items,
        actions=("click",),
    )


def vectors():
    """Even items point one way, odd ones another."""
    return np.eye(2, dtype=np.float32)[np.arange(ITEMS) % 2]


RESOURCES = Resources(
    pa.table({"item_id": [str(i) for i in range(ITEMS)]}),
    vectors,
    lambda texts: np.stack([np.eye(2, dtype=np.float32)[len(text) % 2] for text in texts]),
)


def fitted(source, log):
    built = Slot("sources").build(source)
    state = built.fit(log, RESOURCES)
    return lambda histories: built.score(state, histories, RESOURCES)


@pytest.fixture(scope="module")
def checkerboard():
    """Even users choose even items, odd users odd ones, each a random half of them."""
    rng = np.random.default_rng(0)
    pairs = [(u, i) for u in range(60) for i in range(u % 2, ITEMS, 2) if rng.random() < 0.5]
    return log_of(pairs, 60)


@pytest.mark.parametrize(
    "source",
    [
        "item_knn",
        "user_knn",
        "label_propagation",
        {"type": "ease", "reg": 5.0},
        {"type": "ease", "reg": 5.0, "most_items": 1, "neighbours": 9},
        "ials",
        {"type": "bpr", "factors": 8},
        {"type": "content_knn", "window": 50},
    ],
)
def test_the_rest_of_a_colour_comes_first(checkerboard, source):
    score = fitted(source, checkerboard)
    for colour in (0, 1):
        history = [colour, colour + 2, colour + 4]
        found = score(Histories.of_items([history]))[0]
        unseen = [i for i in np.argsort(-found) if i not in history]
        assert [i % 2 for i in unseen[:4]] == [colour] * 4


def test_transitions_know_the_circle():
    log = Log.of(dataset(circle()))
    found = fitted({"type": "transitions", "lags": 1}, log)(Histories.of_items([[3, 4, 5], [18, 19]]))
    assert found.argmax(1).tolist() == [6, 0]


def test_transitions_without_a_history_fall_back_on_popularity():
    found = fitted("transitions", log_of([(0, 1), (1, 1), (1, 2)], 2))(Histories.of_items([[]]))
    assert found[0].argmax() == 1


def test_recent_forgets_what_popular_remembers():
    log = log_of([(u, 0) for u in range(20)] + [(20 + u, 1) for u in range(10)], 30)
    nobody = Histories.of_items([[]])
    assert fitted("popular", log)(nobody)[0].argmax() == 0
    assert fitted({"type": "recent", "half_life": 0.1}, log)(nobody)[0].argmax() == 1


def test_recent_takes_order_where_there_are_no_times():
    pairs = [(u, i) for u in range(10) for i in (0, 0, 1)]
    log = log_of(pairs, 10, times=[np.nan] * 30)
    assert fitted({"type": "recent", "half_life": 0.1}, log)(Histories.of_items([[]]))[0].argmax() == 1


def test_content_answers_a_text():
    found = fitted("content_knn", log_of([(0, 1)], 1))(Histories.of_items([[], []], ["odd", "even"]))
    assert found[0].argmax() % 2 == 1
    assert found[1].argmax() % 2 == 0


def test_people_are_answered_as_the_factorisation_itself_would(checkerboard):
    """A user's vector solved from their history is the one that the library would compute."""
    from implicit.cpu.als import AlternatingLeastSquares
    from threadpoolctl import threadpool_limits

    source = Slot("sources").build({"type": "ials", "factors": 8})
    state = source.fit(checkerboard, RESOURCES)
    with threadpool_limits(1, "blas"):
        model = AlternatingLeastSquares(
            factors=8, regularization=source.reg, alpha=source.alpha, iterations=1, random_state=0
        )
        model.item_factors = state["items"]
        histories = Histories.of(checkerboard, np.arange(4, dtype=np.int32))
        expected = model.recalculate_user(np.arange(4), histories.matrix(ITEMS)) @ state["items"].T
    np.testing.assert_allclose(source.score(state, histories, RESOURCES), expected, atol=2e-3)


@pytest.mark.parametrize(("people", "items"), [(30, 8), (9, 40)])
def test_ease_is_the_closed_form_whether_people_or_items_are_more(people, items):
    rng = np.random.default_rng(0)
    log = log_of([(u, i) for u in range(people) for i in range(items) if rng.random() < 0.4], people, n_items=items)
    x = log.matrix().toarray().astype(float)
    inverse = np.linalg.inv(x.T @ x + 3 * np.eye(items))
    expected = -inverse / np.diag(inverse)
    np.fill_diagonal(expected, 0)
    state = Slot("sources").build({"type": "ease", "reg": 3.0}).fit(log, RESOURCES)
    np.testing.assert_allclose(state["weights"], expected, atol=1e-4)


@pytest.fixture(scope="module")
def loose():
    """Thirty people and eight items without a pattern."""
    rng = np.random.default_rng(0)
    return log_of([(u, i) for u in range(30) for i in range(8) if rng.random() < 0.4], 30, n_items=8)


def test_ease_of_the_nearest_is_the_closed_form_where_all_are_near(loose):
    """With every item among the neighbours the sparse form solves the same regressions as the dense one."""
    whole = Slot("sources").build({"type": "ease", "reg": 3.0}).fit(loose, RESOURCES)
    near = Slot("sources").build({"type": "ease", "reg": 3.0, "most_items": 7, "neighbours": 7}).fit(loose, RESOURCES)
    np.testing.assert_allclose(near["weights"].toarray(), whole["weights"], atol=1e-4)


def test_ease_of_the_nearest_is_a_regression_on_those_alone(loose):
    state = Slot("sources").build({"type": "ease", "reg": 3.0, "most_items": 1, "neighbours": 2}).fit(loose, RESOURCES)
    x = loose.matrix().toarray().astype(float)
    gram = x.T @ x
    for item in range(8):
        cosine = gram[item] / np.sqrt(gram[item, item] * np.diag(gram))
        cosine[item] = -1
        near = np.argsort(-cosine, kind="stable")[:2]
        expected = np.zeros(8)
        expected[near] = np.linalg.solve(gram[np.ix_(near, near)] + 3 * np.eye(2), gram[near, item])
        np.testing.assert_allclose(state["weights"].toarray()[:, item], expected, atol=1e-4)


@pytest.mark.parametrize("form", [{}, {"most_items": 1, "neighbours": 3}])
@pytest.mark.parametrize("people", [3, 40])
def test_ease_of_several_penalties_is_that_of_each(form, people, monkeypatch):
    rng = np.random.default_rng(3)
    log = log_of([(u, i) for u in range(people) for i in range(ITEMS) if rng.random() < 0.4], people)
    tried = [Slot("sources").build({"type": "ease", "reg": reg, **form}) for reg in (0.5, 4.0, 30.0)]
    for most in (1 << 30, 1):  # all at once, and one after another
        monkeypatch.setattr("genre.sources.ease.MOST_BYTES", most)
        for one, state in zip(tried, tried[0].fit_each(tried, log, RESOURCES), strict=True):
            alone = one.fit(log, RESOURCES)["weights"]
            np.testing.assert_array_equal(_dense(state["weights"]), _dense(alone))
            assert np.abs(_dense(alone)).max() > 0


def test_the_nearest_are_found_once_for_all_penalties(monkeypatch):
    calls: list[int] = []
    nearest = ease._nearest
    monkeypatch.setattr(ease, "_nearest", lambda *given: calls.append(1) or nearest(*given))
    log = Log.of(dataset(circle()))
    source = Slot("sources").build({"type": "ease", "most_items": 1, "neighbours": 3})
    cases = Cases.of(log, "valid")
    with tempfile.TemporaryDirectory() as folder:
        tuner = Tuner(log.parts("train"), cases, [], RESOURCES, Path(folder), {})
        found = tuner.tune(source)
    assert len(found.trials) == len(ease.EASE.GRID["reg"])
    assert len(calls) == 1
    for trial in found.trials:
        alone = tuner.measured(Slot("sources").build({**describe(source), **trial["settings"]}))
        assert trial[CRITERION] == alone[CRITERION]


def _dense(weights: Any) -> np.ndarray:
    return np.asarray(weights.todense()) if sparse.issparse(weights) else weights


def test_ease_says_once_that_the_catalogue_is_too_large_for_its_full_form(capsys):
    from genre.sources.ease import _say_sparse

    _say_sparse.cache_clear()
    log = log_of([(0, 9_000), (0, 10_000), (1, 9_000)], 2, n_items=10_001)
    for reg in (1.0, 2.0):
        found = fitted({"type": "ease", "reg": reg}, log)(Histories.of_items([[9_000], [3]]))
        assert found.argmax(1).tolist() == [10_000, 0]
        assert not found[1].any()
    said = (
        "note: ease: 10001 items are more than most_items (10000): each is predicted from its 200 nearest, not from all"
    )
    assert capsys.readouterr().err.splitlines() == [said]


def test_the_model_source_says_that_there_is_no_model():
    with pytest.raises(GenreError, match="no trained model here; run 'genre train' first"):
        fitted("model", log_of([(0, 1)], 1))(Histories.of_items([[1]]))


def test_ease_by_blocks_is_symmetric_before_it_is_scaled():
    from genre.sources.ease import _mirrored

    whole = np.random.default_rng(0).normal(size=(11, 11)).astype(np.float32)
    whole += whole.T
    lower = np.asfortranarray(np.tril(whole) + np.triu(np.full((11, 11), 9, dtype=np.float32), 1))
    for block in (1, 4, 11, 50):
        found = _mirrored(lower.copy(order="F"), block)
        np.testing.assert_array_equal(found, whole)
        assert found.flags.c_contiguous


@pytest.mark.parametrize("n", [1, 64, 65, 130])
def test_ials_answers_many_people_as_one(checkerboard, n):
    score = fitted({"type": "ials", "factors": 4}, checkerboard)
    histories = Histories.of_items([[i % ITEMS, (i * 7 + 3) % ITEMS] if i % 5 else [] for i in range(n)])
    alone = np.concatenate([score(histories.take(np.array([i]))) for i in range(n)])
    np.testing.assert_allclose(score(histories), alone, rtol=1e-3, atol=1e-5)
    assert not score(histories)[0].any(), "nobody is known of whom there is no history"


@pytest.mark.parametrize(
    "source",
    [
        "popular",
        "recent",
        "item_knn",
        "user_knn",
        "ease",
        {"type": "ease", "most_items": 1},
        "ials",
        "bpr",
        "transitions",
        "content_knn",
        "bm25",
        "label_propagation",
    ],
)
def test_a_log_of_skips_alone_teaches_nothing(source):
    log = log_of([(0, 1), (0, 2)], 1)
    log = replace(log, actions=("skip",))
    assert np.isfinite(fitted(source, log)(Histories.of_items([[1], []]))).all()


COUNTING = [
    "user_knn",
    {"type": "user_knn", "shrink": 5.0, "sharpness": 2.0},
    {"type": "bpr", "factors": 4},
    "label_propagation",
    {"type": "ease", "most_items": 1},
]
"""Sources that know of items only who chose them."""


@pytest.mark.parametrize("source", COUNTING)
def test_a_skip_is_no_choice(source):
    """Where a skip counted, item 3 would go with item 1."""
    log = log_of([(0, 1), (0, 2), (1, 1), (1, 2), (2, 1), (2, 3), (3, 0), (3, 3)], 4)
    skipped = replace(log, action=(np.arange(8) == 5).astype(np.int32), actions=("click", "skip"))
    without = log.where(np.arange(8) != 5)
    histories = Histories.of_items([[1], [3]])
    np.testing.assert_array_equal(fitted(source, skipped)(histories), fitted(source, without)(histories))
    assert np.any(fitted(source, log)(histories) != fitted(source, without)(histories))


@pytest.mark.parametrize("source", COUNTING)
def test_there_is_nothing_to_say_of_people_without_a_history(checkerboard, source):
    found = fitted(source, checkerboard)(Histories.of_items([[], [2]]))
    assert (found[0] == found[0, 0]).all()
    assert found[1].max() > found[1].min()


@pytest.mark.parametrize("source", [one for one in COUNTING if "bpr" not in str(one)])
def test_a_history_that_nobody_shares_is_answered_with_silence(source):
    """Item 9 was never chosen: who has only that is like nobody."""
    log = log_of([(0, 1), (0, 2), (1, 1), (1, 2)], 2)
    found = fitted(source, log)(Histories.of_items([[9], [1]]))
    assert not found[0].any()
    assert found[1].argmax() == 2 or found[1, 2] > found[1, 3]


def test_neighbours_are_found_by_cosine_and_heard_by_how_near_they_are():
    log = log_of([(0, 0), (0, 1), (0, 2), (1, 0), (1, 3), (1, 4), (1, 5), (2, 6)], 3)
    history = Histories.of_items([[0, 1]])
    plain = {"type": "user_knn", "power": 0.0}
    near, far = 2 / np.sqrt(2 * 3), 1 / np.sqrt(2 * 4)
    found = fitted(plain, log)(history)[0]
    np.testing.assert_allclose(found[[2, 3, 0, 6]], [near, far, near + far, 0], rtol=1e-5)
    np.testing.assert_allclose(
        fitted({**plain, "sharpness": 2.0}, log)(history)[0][[2, 3]], [near**2, far**2], rtol=1e-5
    )
    assert fitted({**plain, "neighbours": 1}, log)(history)[0][3] == 0
    shrunk = fitted({**plain, "shrink": 2.0}, log)(history)[0]
    np.testing.assert_allclose(shrunk[2], 2 / (np.sqrt(6) + 2), rtol=1e-5)


def test_a_rare_taste_in_common_says_more():
    """Person 0 shares the rare item 1 with the one who asks, the others share what everybody has."""
    pairs = [(0, 1), (0, 2), (0, 7), *((u, i) for u in range(1, 9) for i in (0, 3))]
    asked = Histories.of_items([[0, 1]])
    one = {"type": "user_knn", "neighbours": 1}
    assert fitted({**one, "power": 0.0}, log_of(pairs, 9))(asked)[0][3] > 0
    assert fitted({**one, "power": 1.0}, log_of(pairs, 9))(asked)[0][2] > 0


@pytest.mark.parametrize("block", [1, 3, 1000])
def test_nearest_items_by_blocks_are_those_of_the_whole_matrix(loose, monkeypatch, block):
    monkeypatch.setattr(item_knn, "BLOCK", block)
    state = item_knn.ItemKNN(neighbours=3, shrink=2.0).fit(loose, RESOURCES)
    x = loose.matrix().toarray().astype(float)
    gram, norm = x.T @ x, np.sqrt(x.sum(0))
    cosine = gram / (np.outer(norm, norm) + 2)
    np.fill_diagonal(cosine, -1)
    expected = np.zeros((8, 8))
    for item in range(8):
        near = np.argsort(-cosine[:, item], kind="stable")[:3]
        expected[near, item] = cosine[near, item]
    np.testing.assert_allclose(state["similarity"].toarray(), expected, atol=1e-6)


@pytest.mark.parametrize("source", ["user_knn", {"type": "bpr", "factors": 4}, "label_propagation"])
def test_many_people_are_answered_as_one(checkerboard, source):
    """Across the edges of the blocks that they are answered in."""
    score = fitted(source, checkerboard)
    histories = Histories.of_items([[i % ITEMS, (i * 7 + 3) % ITEMS] if i % 5 else [] for i in range(300)])
    alone = np.concatenate([score(histories.take(np.array([i]))) for i in range(300)])
    np.testing.assert_allclose(score(histories), alone, rtol=1e-4, atol=1e-5)


def test_bpr_answers_people_as_their_own_vectors_do(checkerboard):
    """The vector made of a history ranks as the one that training found for the same person."""
    from implicit.cpu.bpr import BayesianPersonalizedRanking
    from threadpoolctl import threadpool_limits

    source = Slot("sources").build({"type": "bpr", "factors": 8})
    with threadpool_limits(1, "blas"):
        model = BayesianPersonalizedRanking(
            factors=8, learning_rate=0.05, regularization=0.01, iterations=100, random_state=7, num_threads=1
        )
        model.fit(checkerboard.matrix(), show_progress=False)
    own = model.user_factors @ model.item_factors.T
    state = source.fit(checkerboard, RESOURCES)
    np.testing.assert_array_equal(state["items"], model.item_factors[:, :-1])
    found = source.score(state, Histories.of(checkerboard), RESOURCES)
    agreement = [np.corrcoef(a, b)[0, 1] for a, b in zip(found, own, strict=True)]
    assert min(agreement) > 0.9


def test_bpr_with_another_seed_is_another(checkerboard):
    first, again, other = (
        fitted({"type": "bpr", "factors": 4, "seed": seed}, checkerboard)(Histories.of_items([[1]]))
        for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    assert np.any(first != other)
