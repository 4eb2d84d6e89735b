"""The walk over people, items, words and links."""

import numpy as np
import pyarrow as pa
import pytest

from genre.component import Slot
from genre.data import Histories
from genre.errors import ConfigError
from genre.sources import Resources
from test_sources import log_of

N = 6
PAIRS = [(0, 0), (0, 1), (1, 1), (1, 2)]
"""Items 0 and 1 share a person, so do 1 and 2; items 3, 4 and 5 were never chosen."""


def scores(histories, pairs=PAIRS, settings=None, **columns):
    n_users = max(user for user, _ in pairs) + 1
    items = pa.table({"item_id": [f"i{i}" for i in range(N)], **columns})
    found = Resources(items, lambda: np.zeros((N, 2), np.float32), lambda texts: np.zeros((len(texts), 2), np.float32))
    source = Slot("sources").build({"type": "label_propagation", "power": 0.0, **(settings or {})})
    state = source.fit(log_of(pairs, n_users, n_items=N), found)
    return source.score(state, Histories.of_items(histories), found)


def test_one_step_is_the_walk_by_hand():
    """From item 1 to either person, from each to either of their items."""
    found = scores([[1], [0, 2]], settings={"steps": 1, "restart": 0.0})
    np.testing.assert_allclose(found, [[0.25, 0.5, 0.25, 0, 0, 0], [0.25, 0.5, 0.25, 0, 0, 0]], atol=1e-6)


@pytest.mark.parametrize("restart", [0.2, 0.8])
def test_the_scores_are_a_walk_with_restart(restart):
    """Against the same walk with a dense matrix of steps."""
    step = np.zeros((N, N))
    step[0, [0, 1]] = 0.5
    step[1, [0, 1, 2]] = 0.25, 0.5, 0.25
    step[2, [1, 2]] = 0.5
    start = np.eye(N)[0]
    place, expected = start, np.zeros(N)
    for _ in range(3):
        expected = (1 - restart) * place @ step
        place = expected + restart * start
    np.testing.assert_allclose(scores([[0]], settings={"steps": 3, "restart": restart})[0], expected, atol=1e-6)


def test_two_steps_reach_what_shares_no_person_with_the_history():
    near, far = (scores([[0]], settings={"steps": steps})[0] for steps in (1, 2))
    assert near[2] == 0 < far[2] < far[1]


def test_words_lead_to_items_that_nobody_has_chosen():
    tags = [["Jazz"], ["rock"], None, [" jazz "], ["folk"], []]
    found = scores([[0], [2], [5]], tags=tags, settings={"steps": 3})
    assert found[0, 3] > 0
    assert found[0, 4] == found[0, 5] == 0
    assert not scores([[0]], tags=[None] * N, settings={"through": 1.0})[0, 3:].any()
    assert found[1, 3] > 0, "by way of items 1 and 0 it is three steps"
    assert not found[2].any(), "a cold item without words leads nowhere"


def test_a_history_of_cold_items_is_answered_through_their_words():
    tags = [["jazz"], ["rock"], ["rock"], ["jazz"], ["jazz"], ["rock"]]
    found = scores([[3]], tags=tags, settings={"steps": 1})[0]
    assert found[0] == found[4] > 0
    assert not found[[1, 2, 5]].any()


def test_a_rare_word_leads_further_than_a_common_one():
    tags = [["all", "rare"], ["all"], ["all"], ["rare"], ["all"], ["all"]]
    found = scores([[0]], tags=tags, settings={"through": 1.0, "steps": 1, "restart": 0.0})[0]
    np.testing.assert_allclose(found[[3, 4]], [0.5 / 2, 0.5 / 5], rtol=1e-5)


def test_the_share_through_words_is_what_is_set():
    tags = [["a"], [], [], ["a"], [], []]
    found = scores([[0], [1]], tags=tags, settings={"through": 0.3, "steps": 1, "restart": 0.0})
    np.testing.assert_allclose(found[0], [0.7 / 2 + 0.3 / 2, 0.7 / 2, 0, 0.3 / 2, 0, 0], rtol=1e-5)
    np.testing.assert_allclose(found[1].sum(), 1, rtol=1e-5, err_msg="who has no words walks through people alone")


def test_links_go_to_the_item_itself_and_back():
    cites = [[], ["i4"], ["i2"], ["i0", "i5"], [], []]
    settings = {"links": ["cites"], "through": 1.0, "steps": 1, "restart": 0.0}
    found = scores([[3], [5], [4], [2]], cites=cites, settings=settings)
    np.testing.assert_allclose(found[0], [0.5, 0, 0, 0, 0, 0.5], rtol=1e-5)
    assert found[1:3].argmax(1).tolist() == [3, 1]
    np.testing.assert_allclose(found[3], [0, 0.5, 0.5, 0, 0, 0], rtol=1e-5, err_msg="who names only itself has no link")


def test_ids_outside_the_catalogue_join_the_items_that_name_them():
    cites = [["gone"], [], [], ["gone", "lost"], [], []]
    found = scores([[0]], cites=cites, settings={"links": ["cites"], "through": 1.0, "steps": 1, "restart": 0.0})
    np.testing.assert_allclose(found[0], [0.5, 0, 0, 0.5, 0, 0], rtol=1e-5)


def test_a_column_of_numbers_or_of_strings_is_split_into_words():
    genres = ["a|b, c", "x", None, "c", "", "d e"]
    settings = {"columns": ["genres"], "steps": 1}
    assert scores([[0]], genres=genres, settings=settings)[0].argsort()[::-1][:3].tolist() == [0, 1, 3]
    years = [1990, 1991, None, 1990, 1992, 1993]
    assert scores([[0]], years=years, settings={**settings, "columns": ["years"]})[0, 3] > 0
    spaced = scores([[5]], genres=["e", "x", None, "c", "", "d e"], settings={**settings, "separators": " "})
    assert spaced[0, 0] > 0
    whole = scores([[5]], genres=["d", "x", None, "d|e", "", "d|e"], settings={**settings, "separators": ""})
    assert whole[0].nonzero()[0].tolist() == [3, 5]


def test_numbers_that_look_like_ids_are_words_unless_they_are_said_to_be_links():
    """An attribute ``i3`` is no edge to the item of that name."""
    tags = [["i3"], [], [], [], ["i3"], []]
    settings = {"through": 1.0, "steps": 1}
    assert scores([[0]], tags=tags, settings=settings)[0].nonzero()[0].tolist() == [0, 4]
    assert scores([[0]], tags=tags, settings={**settings, "links": ["tags"]})[0].nonzero()[0].tolist() == [3]


def test_power_brings_rare_items_up():
    pairs = [(0, 0), (0, 1), (0, 2), *((user, 1) for user in range(1, 9))]
    plain, rare = (scores([[0]], pairs, {"steps": 1, "power": power})[0] for power in (0.0, 1.0))
    assert plain[1] == plain[2]
    assert rare[2] > rare[1] > 0


@pytest.mark.parametrize("setting", ["columns", "links"])
def test_a_column_that_is_not_there_is_named(setting):
    expected = "label_propagation: there is no column 'tag' in the items; did you mean 'tags'"
    with pytest.raises(ConfigError, match=expected):
        scores([[0]], tags=[["a"]] * N, settings={setting: ["tag"]})


def test_a_column_that_holds_neither_words_nor_numbers_is_refused():
    with pytest.raises(ConfigError, match="label_propagation: column 'size' of the items holds struct"):
        scores([[0]], size=[{"w": 1}] * N, settings={"columns": ["size"]})
