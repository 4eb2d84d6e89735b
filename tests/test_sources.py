"""Sources on worlds with known answers; the contract that all keep is in test_components."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from genre.component import Slot
from genre.data import Histories, Log
from genre.errors import GenreError
from genre.sources import Resources
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
    "source", ["item_knn", {"type": "ease", "reg": 5.0}, "ials", {"type": "content_knn", "window": 50}]
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


def test_ease_is_the_closed_form():
    rng = np.random.default_rng(0)
    log = log_of([(u, i) for u in range(30) for i in range(8) if rng.random() < 0.4], 30, n_items=8)
    x = log.matrix().toarray().astype(float)
    inverse = np.linalg.inv(x.T @ x + 3 * np.eye(8))
    expected = -inverse / np.diag(inverse)
    np.fill_diagonal(expected, 0)
    state = Slot("sources").build({"type": "ease", "reg": 3.0}).fit(log, RESOURCES)
    np.testing.assert_allclose(state["weights"], expected, atol=1e-4)


def test_ease_refuses_a_catalogue_that_is_too_large():
    with pytest.raises(GenreError, match="ease: 25001 items are more than 25000; use ials or item_knn"):
        fitted("ease", log_of([(0, 1), (0, 2)], 1, n_items=25_001))


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


@pytest.mark.parametrize("name", ["popular", "recent", "item_knn", "ease", "transitions", "content_knn"])
def test_a_log_of_skips_alone_teaches_nothing(name):
    log = log_of([(0, 1), (0, 2)], 1)
    log = replace(log, actions=("skip",))
    assert np.isfinite(fitted(name, log)(Histories.of_items([[1], []]))).all()
