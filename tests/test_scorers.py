"""Scorers and filters with known answers."""

import numpy as np
import pyarrow as pa
import pytest

from genre.component import Slot
from genre.data import Histories
from genre.errors import ConfigError

PEOPLE, ITEMS = 200, 30


@pytest.fixture(scope="module")
def world():
    """One source knows what comes next, one is noise, one is constant."""
    rng = np.random.default_rng(0)
    targets = [rng.integers(0, ITEMS, 1) for _ in range(PEOPLE)]
    good = rng.normal(size=(PEOPLE, ITEMS)).astype(np.float32)
    good[np.arange(PEOPLE), np.concatenate(targets)] += 2
    noise = (1000 * rng.normal(size=(PEOPLE, ITEMS))).astype(np.float32)
    scores = {"good": good, "noise": noise, "constant": np.ones((PEOPLE, ITEMS), dtype=np.float32)}
    return scores, np.ones((PEOPLE, ITEMS), dtype=bool), targets


def test_weights_are_learned_whatever_the_scale(world):
    scorer = Slot("scorers").build("weighted")
    state = scorer.fit(*world)
    good, noise, _ = state["weights"]
    assert good > 10 * abs(noise)
    np.testing.assert_array_equal(state["weights"], scorer.fit(*world)["weights"])


def test_the_gradient_of_the_weights_is_right(world):
    from genre.scorers.weighted import _loss, standardised

    scores, allowed, targets = world
    stack = np.stack([standardised(s, allowed) for s in scores.values()])
    arguments = (stack, allowed, np.arange(PEOPLE), np.concatenate(targets), 1e-3)
    at = np.array([0.3, -0.1, 0.2])
    _, gradient = _loss(at, *arguments)
    for i in range(3):
        step = np.eye(3)[i] * 1e-3
        slope = (_loss(at + step, *arguments)[0] - _loss(at - step, *arguments)[0]) / 2e-3
        assert gradient[i] == pytest.approx(slope, abs=1e-3)


@pytest.mark.parametrize("name", ["weighted", "reciprocal_rank"])
def test_what_is_not_allowed_or_not_finite_never_leads(world, name):
    scores, allowed, targets = world
    scorer = Slot("scorers").build(name)
    state = scorer.fit(scores, allowed, targets)
    odd = {key: score.copy() for key, score in scores.items()}
    odd["good"][:, 0] = np.nan
    mask = allowed.copy()
    mask[:, 1] = False
    total = scorer.score(state, odd, mask)
    assert (total[:, 1] == -np.inf).all()
    assert np.isfinite(np.delete(total, 1, 1)).all()


def test_given_weights_are_taken_as_they_are():
    scorer = Slot("scorers").build({"type": "weighted", "weights": {"a": 1.0, "b": 0.0}})
    scores = {"a": np.array([[0.0, 1.0]], dtype=np.float32), "b": np.array([[9.0, 1.0]], dtype=np.float32)}
    allowed = np.ones((1, 2), dtype=bool)
    assert scorer.score(scorer.fit(scores, allowed, [np.array([0])]), scores, allowed)[0].argmax() == 1


def test_ranks_fuse_as_the_formula_says():
    scores = {"a": np.array([[3.0, 2.0, 1.0]], dtype=np.float32), "b": np.array([[1.0, 3.0, 2.0]], dtype=np.float32)}
    found = Slot("scorers").build("reciprocal_rank").score({}, scores, np.ones((1, 3), dtype=bool))[0]
    np.testing.assert_allclose(found, [1 / 61 + 1 / 63, 1 / 62 + 1 / 61, 1 / 63 + 1 / 62], rtol=1e-5)


def test_seen_takes_out_the_history():
    items = pa.table({"item_id": list("abc")})
    kept = Slot("filters").build("seen").keep(Histories.of_items([[0, 2], []]), items)
    assert kept.tolist() == [[False, True, False], [True, True, True]]


def test_attribute_keeps_and_takes_out_by_value():
    items = pa.table({"item_id": list("abcd"), "categories": [["x"], ["x", "y"], ["z"], None]})
    nobody = Histories.of_items([[]])
    only = Slot("filters").build({"type": "attribute", "only": ["x", "z"], "never": ["y"]})
    assert only.keep(nobody, items).tolist() == [[True, False, True, False]]
    with pytest.raises(ConfigError, match="no column 'category'; did you mean 'categories'"):
        Slot("filters").build({"type": "attribute", "column": "category"}).keep(nobody, items)


def test_a_source_with_nothing_to_say_moves_nothing_by_rank():
    rng = np.random.default_rng(0)
    good = rng.normal(size=(20, 12)).astype(np.float32)
    sparse = np.zeros((20, 12), dtype=np.float32)
    sparse[:, 5] = 1
    allowed = rng.random((20, 12)) < 0.7
    scorer = Slot("scorers").build("reciprocal_rank")
    alone = scorer.score({}, {"good": good}, allowed)
    silent = scorer.score({}, {"good": good, "silent": np.zeros_like(good)}, allowed)
    np.testing.assert_array_equal(np.argsort(-alone, kind="stable"), np.argsort(-silent, kind="stable"))
    tied = scorer.score({}, {"sparse": sparse}, np.ones_like(allowed))
    assert (tied[:, 5] > tied[:, 0]).all()
    assert (np.delete(tied, 5, 1) == tied[:, :1]).all()


@pytest.mark.parametrize("name", ["weighted", "reciprocal_rank"])
def test_people_whom_nothing_may_be_shown_get_nothing_and_teach_nothing(world, name):
    scores, allowed, targets = world
    mask = allowed.copy()
    mask[:20] = False
    scorer = Slot("scorers").build(name)
    state = scorer.fit(scores, mask, targets)
    assert (scorer.score(state, scores, mask)[:20] == -np.inf).all()
    rest = {key: score[20:] for key, score in scores.items()}
    without = scorer.fit(rest, allowed[20:], targets[20:])
    assert {key: value.tolist() for key, value in state.items()} == {key: v.tolist() for key, v in without.items()}


def test_targets_that_may_not_be_shown_teach_no_weight(world):
    scores, allowed, targets = world
    mask, kept = allowed.copy(), np.arange(PEOPLE) >= 150
    for i in np.flatnonzero(~kept):
        mask[i, targets[i]] = False
    scorer = Slot("scorers").build("weighted")
    picked = {key: score[kept] for key, score in scores.items()}
    expected = scorer.fit(picked, mask[kept], [t for t, k in zip(targets, kept, strict=True) if k])
    np.testing.assert_array_equal(scorer.fit(scores, mask, targets)["weights"], expected["weights"])
