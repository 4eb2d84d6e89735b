"""Splits and the log: laws that hold for every log, and small logs with a known right answer."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genre.component import Slot, names
from genre.data import PARTS, UNUSED, Histories, Log
from genre.errors import DataError
from genre.splits.cold_items import ColdItems
from genre.splits.cold_users import ColdUsers
from genre.splits.given import Given
from genre.splits.impressions import Impressions
from genre.splits.last import Last
from genre.splits.random import Random
from genre.splits.time import Time

TRAIN, VALID, TEST = range(3)


def log_of(rows: list[tuple[int, int, float, str, int]], n_items: int = 0, part: list[int] | None = None) -> Log:
    """A log from rows of user, item, time, action and impression (-1 for none), sorted as the data are."""
    users, items, times, actions, impressions = map(list, zip(*rows, strict=True))
    order = np.lexsort((np.arange(len(rows)), np.nan_to_num(times, nan=-1.0), users))
    words = tuple(sorted(set(actions)))
    return Log(
        user=np.array(users, dtype=np.int32)[order],
        item=np.array(items, dtype=np.int32)[order],
        action=np.array([words.index(word) for word in actions], dtype=np.int32)[order],
        value=np.full(len(rows), np.nan, dtype=np.float32),
        time=np.array(times, dtype=np.float64)[order],
        impression=np.array(impressions, dtype=np.int32)[order],
        part=np.full(len(rows), UNUSED, dtype=np.int8) if part is None else np.array(part, dtype=np.int8)[order],
        n_users=max(users) + 1,
        n_items=max(n_items, *items) + 1 if items else n_items,
        actions=words,
    )


def walk(user: int, n: int, start: float = 0.0) -> list[tuple[int, int, float, str, int]]:
    return [(user, i, start + i, "click", -1) for i in range(n)]


@st.composite
def logs(draw: st.DrawFn, timed: bool = True, shown: bool = True) -> Log:
    """Logs with ties in time, skips, repeated items, and impressions that belong to one user at one time."""
    rows: list[tuple[int, int, float, str, int]] = []
    impressions = 0
    for user in range(draw(st.integers(2, 6))):
        for _ in range(draw(st.integers(1, 8))):
            time = float(draw(st.integers(0, 20))) if timed else np.nan
            if shown and draw(st.booleans()):
                for item in draw(st.lists(st.integers(0, 9), min_size=1, max_size=4, unique=True)):
                    rows.append((user, item, time, draw(st.sampled_from(["click", "skip"])), impressions))
                impressions += 1
            else:
                rows.append((user, draw(st.integers(0, 9)), time, draw(st.sampled_from(["click", "view", "skip"])), -1))
    return log_of(rows, n_items=10)


def positions(log: Log, part: np.ndarray[Any, Any], which: int) -> dict[int, list[int]]:
    """Rows of one part that are events, by user."""
    found: dict[int, list[int]] = {}
    for row in np.flatnonzero((part == which) & log.positive):
        found.setdefault(int(log.user[row]), []).append(int(row))
    return found


@pytest.mark.parametrize("name", sorted(set(names("splits")) - {"given"}))
@settings(max_examples=40, deadline=None)
@given(log=logs(), seed=st.integers(0, 99))
def test_every_split_gives_each_row_one_part_and_the_same_one_twice(name, log, seed):
    split = Slot("splits").build(name)
    try:
        part, facts = split.assign(log, seed)
    except DataError:
        assert name == "impressions"  # the only one that a log of this kind may be too small for
        return
    assert part.shape == log.user.shape
    assert part.dtype == np.int8
    assert set(np.unique(part)) <= {UNUSED, TRAIN, VALID, TEST}
    again, same_facts = split.assign(log, seed)
    assert (part == again).all()
    assert facts == same_facts
    assert "ordered" in facts
    if name not in ("cold_users", "impressions"):
        assert (part[log.positive] != UNUSED).all()


@pytest.mark.parametrize("split", [Last(), Last(valid=2, test=3), Time(), ColdUsers(targets=2)])
@settings(max_examples=60, deadline=None)
@given(log=logs(), seed=st.integers(0, 99))
def test_splits_that_follow_time_leave_no_future_in_a_history(split, log, seed):
    part, facts = split.assign(log, seed)
    assert facts["ordered"] is True
    for earlier, later in ((UNUSED, VALID), (UNUSED, TEST), (TRAIN, VALID), (TRAIN, TEST), (VALID, TEST)):
        first, last = positions(log, part, later), positions(log, part, earlier)
        assert all(max(last[user]) < min(first[user]) for user in first.keys() & last.keys())


@settings(max_examples=80, deadline=None)
@given(log=logs(), valid=st.integers(1, 2), test=st.integers(1, 3), at_least=st.integers(1, 3))
def test_last_takes_just_so_many_events_of_each_long_enough_user(log, valid, test, at_least):
    part, facts = Last(valid=valid, test=test, at_least=at_least).assign(log, 0)
    judged = 0
    for user in range(log.n_users):
        mine = part[(log.user == user) & log.positive]
        if len(mine) >= valid + test + at_least:
            judged += 1
            assert mine.tolist() == [TRAIN] * (len(mine) - valid - test) + [VALID] * valid + [TEST] * test
        else:
            assert (part[log.user == user] == TRAIN).all()
    assert facts["users_judged"] == judged


def test_last_with_two_clicks_in_one_impression_still_judges_the_user():
    rows = [*walk(0, 3), (0, 5, 9.0, "click", 0), (0, 6, 9.0, "skip", 0), (0, 7, 9.0, "click", 0), *walk(1, 2)]
    part, facts = Last().assign(log_of(rows), 0)
    assert part.tolist() == [TRAIN, TRAIN, TRAIN, VALID, TEST, TEST, TRAIN, TRAIN]
    assert facts["users_judged"] == 1
    assert facts["users_too_short"] == 1


def test_last_gives_a_skip_the_part_of_what_was_chosen_next():
    clicks = [(0, i, 10.0 * i, "click", -1) for i in range(5)]
    skips = [(0, 9, time, "skip", -1) for time in (5.0, 25.0, 35.0, 99.0)]
    log = log_of([*clicks, *skips])
    part, _ = Last().assign(log, 0)
    found = dict(zip(log.time[~log.positive].tolist(), part[~log.positive].tolist(), strict=True))
    assert found == {5.0: TRAIN, 25.0: VALID, 35.0: TEST, 99.0: TEST}


def test_last_reports_the_share_of_tied_targets():
    tied = [(0, i, float(min(i, 3)), "click", -1) for i in range(5)]
    part, facts = Last().assign(log_of([*tied, *walk(1, 4)]), 0)
    assert facts["tied_targets"] == 0.5
    assert part.tolist() == [TRAIN] * 3 + [VALID, TEST] + [TRAIN] * 2 + [VALID, TEST]
    untimed = log_of([(0, i, np.nan, "click", -1) for i in range(4)])
    assert Last().assign(untimed, 0)[1]["tied_targets"] is None


def test_time_cuts_once_for_everybody():
    log = log_of([*walk(0, 10), *walk(1, 10)])
    part, facts = Time(valid=0.2, test=0.1).assign(log, 0)
    assert (part == TEST).tolist() == (log.time >= 9).tolist()
    assert ((part == VALID) == ((log.time >= 7) & (log.time < 9))).all()
    assert (facts["valid_from"], facts["test_from"]) == (7.0, 9.0)
    with pytest.raises(DataError, match="'time' needs a timestamp in every row; use 'last'"):
        Time().assign(log_of([(0, 1, np.nan, "click", -1), (1, 1, 3.0, "click", -1)]), 0)
    with pytest.raises(DataError, match="leave nothing to train on"):
        Time(valid=0.5, test=0.5).assign(log, 0)


@settings(max_examples=40, deadline=None)
@given(log=logs(), seed=st.integers(0, 99))
def test_random_keeps_impressions_whole_and_takes_its_share(log, seed):
    part, _ = Random(valid=0.25, test=0.25).assign(log, seed)
    for impression in np.unique(log.impression[log.impression >= 0]):
        assert len(set(part[log.impression == impression])) == 1
    sizes, _ = Random(valid=0.1, test=0.2).assign(log_of([*walk(0, 10), *walk(1, 20)]), seed)
    assert np.bincount(sizes, minlength=3).tolist() == [21, 3, 6]


def test_random_draws_others_with_another_seed():
    log = log_of([*walk(0, 50), *walk(1, 50)])
    assert (Random().assign(log, 1)[0] != Random().assign(log, 2)[0]).any()


@settings(max_examples=40, deadline=None)
@given(log=logs(), seed=st.integers(0, 99))
def test_cold_items_are_never_trained_on(log, seed):
    part, _ = ColdItems(valid=0.3, test=0.3).assign(log, seed)
    of = [set(log.item[part == which].tolist()) for which in (TRAIN, VALID, TEST)]
    assert not of[TRAIN] & of[VALID]
    assert not of[TRAIN] & of[TEST]
    assert not of[VALID] & of[TEST]


@settings(max_examples=40, deadline=None)
@given(log=logs(shown=False), seed=st.integers(0, 99))
def test_cold_users_train_nothing_and_keep_their_past(log, seed):
    part, _ = ColdUsers(valid=0.3, test=0.3, targets=1).assign(log, seed)
    for user in np.unique(log.user[np.isin(part, [VALID, TEST, UNUSED])]):
        mine = (log.user == user) & log.positive
        assert TRAIN not in part[log.user == user]
        which = "valid" if VALID in part[mine] else "test"
        assert (part[mine] == PARTS.index(which)).sum() == min(1, mine.sum())
        past = replace(log, part=part).before(which)
        assert (past.user[past.positive] == user).sum() == mine.sum() - 1


def test_impressions_stay_whole_and_the_latest_are_the_test():
    rows = [(i % 2, j, 10.0 * i, "click" if j == i % 3 else "skip", i) for i in range(10) for j in range(3)]
    rows += [(0, 7, 5.0, "click", -1), (0, 8, 95.0, "click", -1)]
    log = log_of(rows)
    part, facts = Impressions().assign(log, 0)
    assert set(log.impression[part == TEST]) == {9}
    assert set(log.impression[part == VALID]) == {8}
    assert (part == TEST).sum() == (part == VALID).sum() == 3
    assert part[(log.impression < 0) & (log.time == 5)] == TRAIN
    assert part[(log.impression < 0) & (log.time == 95)] == UNUSED
    known = replace(log, part=part).before("valid")
    assert not (known.user[known.time > 80] == 0).any()  # user 0 is judged at 80, what came later is no history
    assert facts["valid_from"] == 80.0


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (walk(0, 5), "needs an impression_id column"),
        ([(0, i, np.nan, "click", i) for i in range(5)], "needs a timestamp in every row"),
        ([(0, i, 1.0 * i, "click", i) for i in range(2)], "needs more than 2 impressions"),
    ],
)
def test_impressions_that_cannot_be_divided(rows, message):
    with pytest.raises(DataError, match=message):
        Impressions().assign(log_of(rows), 0)


def test_given_takes_the_source_at_its_word():
    parts = [TRAIN, TEST, VALID, UNUSED]
    part, facts = Given().assign(log_of(walk(0, 4), part=parts), 0)
    assert part.tolist() == parts
    assert facts["ordered"] is False
    with pytest.raises(DataError, match="needs a 'part' column in the log, with the words train, valid, test"):
        Given().assign(log_of(walk(0, 4)), 0)


# The log and the histories made of it


@settings(max_examples=60, deadline=None)
@given(log=logs())
def test_events_left_counts_down_to_one(log):
    left = log.events_left()
    for user in range(log.n_users):
        mine = left[(log.user == user) & log.positive]
        assert mine.tolist() == list(range(len(mine), 0, -1))
        skips = left[(log.user == user) & ~log.positive]
        assert set(skips) <= (set(mine) or {0})


@settings(max_examples=60, deadline=None)
@given(log=logs(), n=st.integers(1, 5), data=st.data())
def test_histories_take_and_latest(log, n, data):
    whole = Histories.of(log)
    assert whole.offsets[-1] == len(whole.item) == log.positive.sum()
    assert (whole.lengths >= 0).all()
    people = np.array(data.draw(st.lists(st.integers(0, log.n_users - 1), max_size=8)), dtype=np.int32)
    taken = whole.take(people)
    for at, person in enumerate(people):
        expected = log.item[(log.user == person) & log.positive].tolist()
        assert taken.item[taken.offsets[at] : taken.offsets[at + 1]].tolist() == expected
    short = whole.latest(n)
    for person in range(log.n_users):
        events = log.item[(log.user == person) & log.positive].tolist()
        assert short.item[short.offsets[person] : short.offsets[person + 1]].tolist() == events[-n:]
    assert (short.age < n).all()
    assert short.latest(n).item.tolist() == short.item.tolist()


@settings(max_examples=40, deadline=None)
@given(log=logs())
def test_matrices_agree_with_the_rows(log):
    dense = np.zeros((log.n_users, log.n_items))
    dense[log.user[log.positive], log.item[log.positive]] = 1
    assert (log.matrix().toarray() == dense).all()
    assert (Histories.of(log).matrix(log.n_items).toarray() == dense).all()


def test_histories_of_people_who_are_not_in_the_data():
    lists = [[3, 1], [], [2]]
    made = Histories.of_items(lists, texts=[None, "green tea", None])
    assert made.lengths.tolist() == [2, 0, 1]
    assert made.take(np.array([2, 1])).texts == (None, "green tea")
    assert np.isnan(made.value).all()
