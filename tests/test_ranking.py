"""Ranks with ties against the system, and lists."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from genre.ranking import ranks, top_lists

SCORES = hnp.arrays(np.float32, st.tuples(st.integers(1, 5), st.integers(2, 30)), elements=st.integers(0, 6).map(float))


def all_allowed(scores):
    return np.ones(scores.shape, dtype=bool)


def test_the_best_is_first_and_ties_stand_above_the_target():
    scores = np.array([[3.0, 1.0, 3.0, 2.0]], dtype=np.float32)
    assert ranks(scores, all_allowed(scores), [np.array([0, 3, 1])])[0].tolist() == [2, 3, 4]


def test_a_constant_scorer_gains_nothing():
    scores = np.zeros((50, 100), dtype=np.float32)
    found = np.concatenate(ranks(scores, all_allowed(scores), [np.array([i]) for i in range(50)]))
    assert (found == 100).all()


def test_a_sparse_scorer_gains_nothing_where_it_is_silent():
    scores = np.zeros((1, 100), dtype=np.float32)
    scores[0, :3] = 1
    assert ranks(scores, all_allowed(scores), [np.array([50])])[0].tolist() == [100]


def test_scores_that_are_not_finite_sink():
    scores = np.array([[np.nan, 1.0, np.inf, -np.inf, 0.0]], dtype=np.float32)
    assert ranks(scores, all_allowed(scores), [np.array([1, 4])])[0].tolist() == [1, 2]
    assert top_lists(scores, all_allowed(scores), 4).tolist() == [[1, 4, -1, -1]]


def test_a_target_that_may_not_be_shown_is_last():
    scores = np.array([[3.0, 2.0, 1.0]], dtype=np.float32)
    allowed = np.array([[False, True, True]])
    assert ranks(scores, allowed, [np.array([0])])[0].tolist() == [3]
    assert ranks(scores, allowed, [np.array([1])])[0].tolist() == [1]


@settings(deadline=None)
@given(SCORES, st.data())
def test_ranks_of_a_unit_differ_and_are_what_a_slow_count_gives(scores, data):
    n = scores.shape[1]
    targets = [
        np.array(data.draw(st.lists(st.integers(0, n - 1), min_size=1, max_size=min(6, n), unique=True)))
        for _ in range(len(scores))
    ]
    for row, mine, found in zip(scores, targets, ranks(scores, all_allowed(scores), targets), strict=True):
        assert len(set(found.tolist())) == len(mine)
        others = np.setdiff1d(np.arange(n), mine)
        for target, rank in zip(mine, found, strict=True):
            fellows_above = sum(row[t] > row[target] for t in mine)
            fellows_tied = sum(row[t] == row[target] for t in mine) - 1
            base = 1 + int((row[others] >= row[target]).sum()) + fellows_above
            assert base <= rank <= base + fellows_tied


@settings(deadline=None)
@given(SCORES)
def test_an_increasing_change_of_the_scores_changes_no_rank(scores):
    targets = [np.array([0, 1])] * len(scores)
    before = ranks(scores, all_allowed(scores), targets)
    after = ranks(np.exp(scores / 3), all_allowed(scores), targets)
    assert [r.tolist() for r in before] == [r.tolist() for r in after]


@settings(deadline=None)
@given(SCORES, st.integers(1, 40))
def test_lists_are_the_head_of_a_full_sort(scores, k):
    allowed = scores != 3
    for row, mask, found in zip(scores, allowed, top_lists(scores, allowed, k), strict=True):
        expected = sorted(np.flatnonzero(mask), key=lambda i: (-row[i], i))[:k]
        assert found[found >= 0].tolist() == expected


def test_targets_that_may_not_be_shown_stand_behind_all_that_may():
    scores = np.array([[3.0, 2.0, 1.0, 0.0], [3.0, 2.0, 1.0, 0.0]], dtype=np.float32)
    allowed = np.array([[False, False, True, True], [True, True, True, False]])
    found = ranks(scores, allowed, [np.array([0, 3, 1]), np.array([3])])
    assert [one.tolist() for one in found] == [[3, 2, 4], [4]]


def test_lists_are_as_long_as_asked_for():
    scores = np.array([[1.0, 2.0]], dtype=np.float32)
    assert top_lists(scores, all_allowed(scores), 4).tolist() == [[1, 0, -1, -1]]


@settings(deadline=None)
@given(SCORES, st.randoms(use_true_random=False))
def test_the_order_of_the_catalogue_changes_no_rank(scores, random):
    order = np.array(random.sample(range(scores.shape[1]), scores.shape[1]))
    moved = np.empty_like(order)
    moved[order] = np.arange(len(order))
    mine = np.array([0, scores.shape[1] - 1])
    allowed = scores != 3
    before = ranks(scores, allowed, [mine] * len(scores))
    after = ranks(scores[:, order], allowed[:, order], [moved[mine]] * len(scores))
    assert [one.tolist() for one in before] == [one.tolist() for one in after]
