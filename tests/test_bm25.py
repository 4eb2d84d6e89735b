"""The word source: what it reads, how it cuts, and what it answers."""

import math

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genre.component import Slot
from genre.data import Histories
from genre.errors import ConfigError
from genre.sources import Resources
from genre.sources.bm25 import words
from test_sources import log_of

TITLES = [
    "Blue denim jacket",
    "Denim trousers, blue",
    "Kafka on the shore",
    "The trial by Kafka",
    "红色连衣裙",
    "蓝色连衣裙 夏季",
    "",
    None,
    "Garden hose",
    "Coffee grinder",
    "Steel kettle",
    "Wool socks",
]


def resources(**columns):
    n = len(next(iter(columns.values())))
    table = pa.table({"item_id": [f"i{i}" for i in range(n)], **columns})
    return Resources(table, lambda: np.zeros((n, 2), np.float32), lambda texts: np.zeros((len(texts), 2), np.float32))


def scores(histories, found=None, **settings):
    found = found or resources(title=TITLES)
    source = Slot("sources").build({"type": "bm25", **settings})
    state = source.fit(log_of([(0, 0)], 1, n_items=found.items.num_rows), found)
    return source.score(state, histories, found)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Don't STOP_me 2nite", ["don", "t", "stop", "me", "2nite"]),
        ("Straße ﬁne Ｆｕｌｌ", ["strasse", "fine", "full"]),
        ("红色连衣裙", ["红色", "色连", "连衣", "衣裙"]),
        ("买iPhone手机壳!", ["买", "iphone", "手机", "机壳"]),
        ("東京タワー", ["東京", "京タ", "タワ", "ワー"]),
        ("가나다 라", ["가나", "나다", "라"]),
        ("  ...  ", []),
    ],
)
def test_words(text, expected):
    assert words(text) == expected


@given(st.text())
def test_any_text_can_be_cut(text):
    assert all(word and not word.isspace() for word in words(text))


def test_what_shares_words_comes_first():
    found = scores(Histories.of_items([[0], [2], [4]]))
    found[[0, 1, 2], [0, 2, 4]] = 0
    assert found.argmax(1).tolist() == [1, 3, 5]


def test_a_person_is_answered_by_what_they_say():
    found = scores(Histories.of_items([[], [], [8]], ["anything by KAFKA?", "连衣裙", "kettle of steel"]))
    assert set(np.argsort(-found[0])[:2]) == {2, 3}
    assert set(np.argsort(-found[1])[:2]) == {4, 5}
    assert found[2].argmax() in (8, 10)
    assert found[2, 8] > 0 < found[2, 10]


def test_there_is_nothing_to_say_without_words():
    found = scores(Histories.of_items([[], [6], [7], [], [6, 7]], [None, None, None, "xylophone", ""]))
    assert not found.any()


def test_only_the_latest_count():
    found = scores(Histories.of_items([[2, 0]]), window=1)
    assert found[0, 3] == 0
    assert found[0, 1] > 0
    assert scores(Histories.of_items([[2, 0]]), window=2)[0, 3] > 0


def test_the_weight_is_that_of_the_formula():
    """A query of one word gives the word's weight in each text, as published."""
    titles = ["red red hat", "red", "hat box", "pen", "cup", "bag", "toy"]
    found = scores(Histories.of_items([[]], ["red"]), resources(title=titles), k1=1.2, b=0.75)
    idf = math.log((7 - 2 + 0.5) / (2 + 0.5))
    average = (3 + 1 + 2 + 4) / 7

    def weight(times, length):
        return idf * times * 2.2 / (times + 1.2 * (0.25 + 0.75 * length / average))

    np.testing.assert_allclose(found[0], [weight(2, 3), weight(1, 1), 0, 0, 0, 0, 0], rtol=1e-5)


def test_a_word_of_half_of_the_texts_says_nothing():
    titles = ["the hat", "the box", "the pen", "cup", "bag of the toy", "the end"]
    assert not scores(Histories.of_items([[]], ["the"]), resources(title=titles)).any()


def test_lists_and_strings_are_read_and_ids_are_not():
    columns = {
        "title": ["one", "two", "three", "four", "five"],
        "tags": [["jazz", "late night"], ["rock"], ["jazz"], None, []],
        "year": [1990, 1991, 1990, 1990, 1995],
    }
    found = scores(Histories.of_items([[0], [], []], [None, "1990", "i3"]), resources(**columns))
    assert found[0].argsort()[::-1][:2].tolist() == [0, 2]
    assert not found[1:].any()
    assert not scores(Histories.of_items([[0]]), resources(**columns), columns=["title"])[0, 1:].any()


def test_a_column_that_is_not_there_is_named():
    with pytest.raises(
        ConfigError, match="bm25: columns: there is no column 'titel' in the items; did you mean 'title'"
    ):
        scores(Histories.of_items([[0]]), columns=["titel"])


def test_a_catalogue_of_ids_alone_says_nothing():
    found = resources(year=[1, 2, 3])
    assert not scores(Histories.of_items([[0], []], [None, "1"]), found).any()


def test_new_items_are_found_by_the_words_that_the_catalogue_knows():
    old = resources(title=TITLES)
    source = Slot("sources").build("bm25")
    state = source.fit(log_of([(0, 0)], 1, n_items=len(TITLES)), old)
    extended = source.extend(state, resources(title=["Letters of Kafka", "Zirconium ring", None]))
    n = len(TITLES)
    found = source.score(extended, Histories.of_items([[2], [n]], [None, None]), old)
    before = source.score(state, Histories.of_items([[2]]), old)
    np.testing.assert_array_equal(found[:1, :n], before)
    assert found[0, n] > 0
    assert set(np.argsort(-found[1])[:3]) == {2, 3, n}
    assert not found[:, n + 1 :].any()


def test_a_text_counts_the_same_whether_it_was_there_or_came_later():
    source = Slot("sources").build("bm25")
    state = source.fit(log_of([(0, 0)], 1, n_items=len(TITLES)), resources(title=TITLES))
    added = source.extend(state, resources(title=["Kafka on the shore"]))
    found = source.score(added, Histories.of_items([[3]]), resources(title=TITLES))
    assert found[0, 2] == found[0, -1] > 0
