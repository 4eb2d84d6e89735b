"""The live engine: the answers of the pipeline, in time whatever happens, and nothing shown that must not be."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from finished import finished
from genre.data import Histories
from genre.errors import GenreError
from genre.pipeline import Pipeline
from genre.serve.allowing import Columns, Condition
from genre.serve.arranging import Pin, arrange
from genre.serve.batching import Ask, Call, Full, Inference
from genre.serve.bounded import Bounded, Worker
from genre.serve.buckets import DAY, Buckets
from genre.serve.caches import Cache
from genre.serve.engine import Answer, Wish
from genre.serve.experiments import arm_for, results, share_of
from genre.serve.guard import depth, is_loopback
from genre.serve.judging import judge
from genre.serve.loaded import Loaded
from genre.serve.service import Service
from genre.store.checking import checked
from genre.store.records import Event, Experiment, Outcome
from genre.types import Query, Slate
from served import a_run, service


@pytest.fixture(scope="module")
def served(tmp_path_factory) -> Iterator[Service]:
    with service(a_run(tmp_path_factory.mktemp("runs"))) as made:
        yield made


@pytest.fixture
def fresh(served: Service) -> Service:
    """The service with nothing in memory, and its own model."""
    served.engine._ranked.clear()
    served.engine._last.clear()
    return served


def ask(made: Service, model: Loaded | None = None, **wish: Any) -> Answer:
    """An answer, from an event loop of its own."""
    asked = Wish(**{"seconds": 5.0, **wish})
    return asyncio.run(made.engine.answer(asked, model or made.models.active))


def ids(answer: Answer | Slate) -> list[str]:
    return [one["item_id"] if isinstance(one, dict) else one.item_id for one in answer.items]


def event(**facts: Any) -> Event:
    made = checked({"action": "rate", **facts})
    assert isinstance(made, Event)
    return made


class Sleeps:
    """A source that sleeps, then says that all items are equal."""

    def __init__(self, seconds: float) -> None:
        self.seconds, self.asked = seconds, 0

    def fit(self, log: Any, resources: Any) -> dict[str, Any]:
        return {}

    def score(self, state: Any, histories: Histories, resources: Any) -> Any:
        self.asked += 1
        time.sleep(self.seconds)
        return np.zeros((len(histories), resources.items.num_rows), dtype=np.float32)


class Raises(Sleeps):
    """A source that raises."""

    def score(self, state: Any, histories: Histories, resources: Any) -> Any:
        raise RuntimeError("the index is gone")


class Few(Sleeps):
    """A source that knows two items."""

    def score(self, state: Any, histories: Histories, resources: Any) -> Any:
        scores = np.zeros((len(histories), resources.items.num_rows), dtype=np.float32)
        scores[:, :2] = 1
        return scores


def spoilt(model: Loaded, name: str, source: Any) -> Loaded:
    """The model with one of its sources replaced."""
    old: Any = model.path.sources[name]
    sources = {**model.path.sources, name: Bounded(source, model.deadline, Worker("spoilt", lambda: None))}
    assert isinstance(old, Bounded)
    return replace(model, pipeline=model.path.changed(sources=sources), version=model.version + name)


def test_live_answers_are_those_of_the_pipeline_that_evaluate_runs(fresh):
    path = Pipeline.load(finished().folder)
    queries = [Query(user_id=f"u{i}", k=5) for i in range(40)] + [Query(history=("i1", "i2"), k=5)]

    async def together() -> list[Answer]:
        wishes = [Wish(user_id=q.user_id, history=q.history, k=5, seconds=30) for q in queries]
        return await asyncio.gather(*(fresh.engine.answer(wish, fresh.models.active) for wish in wishes))

    blocks, answered = fresh.engine.inference.blocks, fresh.engine.inference.answered
    live = asyncio.run(together())
    for mine, theirs in zip(live, path.recommend(queries), strict=True):
        assert ids(mine) == ids(theirs)
        assert [one["sources"] for one in mine.items] == [one.sources for one in theirs.items]
        np.testing.assert_allclose([o["score"] for o in mine.items], [o.score for o in theirs.items], rtol=1e-4)
    assert fresh.engine.inference.answered - answered == 41
    assert fresh.engine.inference.blocks - blocks < 20, "those that wait are answered together"


def test_a_source_that_sleeps_costs_its_candidates_and_the_deadline_holds(fresh):
    model = spoilt(fresh.models.active, "ease", Sleeps(1.5))
    started = time.monotonic()
    answer = ask(fresh, model, user_id="u1", k=3, seconds=0.5)
    assert time.monotonic() - started < 0.5
    assert answer.rung == "full"
    assert answer.degraded == ["source_failed:ease"]
    assert "did not answer before the deadline" in answer.skipped["ease"]
    again = ask(fresh, model, user_id="u1", k=3, seconds=0.5)
    assert "still busy" in again.skipped["ease"], "what failed is not remembered as an answer"


def test_a_source_that_raises_is_named_and_the_others_answer(fresh):
    answer = ask(fresh, spoilt(fresh.models.active, "ease", Raises(0)), user_id="u1", k=3)
    assert answer.degraded == ["source_failed:ease"]
    assert answer.skipped["ease"] == "failed: RuntimeError: the index is gone"
    assert len(answer.items) == 3
    assert all("ease" not in one["sources"] for one in answer.items)


def all_spoilt(model: Loaded, source: Any) -> Loaded:
    for name in model.path.sources:
        model = spoilt(model, name, source)
    return model


def test_without_any_source_the_earlier_slate_answers_then_what_is_popular(fresh):
    model = fresh.models.active
    before = ask(fresh, user_id="u2", k=3)
    broken = all_spoilt(model, Raises(0))
    answer = ask(fresh, broken, user_id="u2", k=3)
    assert (answer.rung, answer.degraded) == ("cached", ["model_failed"])
    assert ids(answer) == ids(before)
    stranger = ask(fresh, broken, user_id="u3", k=3)
    assert stranger.rung == "popular"
    had = {model.item_ids[row] for row in model.person("u3", ()).history.item}
    counts = np.bincount(model.path.log.item, minlength=20)
    assert not had & set(ids(stranger))
    assert [counts[model.rows[item]] for item in ids(stranger)] == sorted(
        (counts[model.rows[item]] for item in model.rows if item not in had), reverse=True
    )[:3]


def test_a_model_that_hangs_is_answered_for_by_the_deadline(fresh):
    hanging = threading.Event()
    fresh.engine.inference.submit(Call(hanging.wait, time.monotonic() + 60))
    started = time.monotonic()
    answer = ask(fresh, user_id="u4", k=3, seconds=0.2)
    assert time.monotonic() - started < 0.4
    assert (answer.rung, answer.degraded) == ("popular", ["model_timeout"])
    hanging.set()
    assert ask(fresh, user_id="u4", k=3).rung == "full"


def test_a_store_that_is_slow_or_away_is_told_and_the_run_s_own_history_answers(fresh, monkeypatch):
    from genre.store.faults import StoreError

    def away(*_: Any) -> list[Event]:
        raise StoreError("the file is gone", "gone")

    fresh.engine.people.forget([f"u{i}" for i in range(80)])
    monkeypatch.setattr(fresh.store.events, "latest", away)
    answer = ask(fresh, user_id="u5", k=2)
    assert (answer.rung, answer.degraded) == ("full", ["store_unavailable"])
    monkeypatch.setattr(fresh.store.events, "latest", lambda *_: time.sleep(1) or [])
    slow = ask(fresh, user_id="u6", k=2, seconds=0.2)
    assert (slow.rung, slow.degraded) == ("static", ["store_timeout"])
    assert len(slow.items) == 2


def test_hidden_items_stay_hidden_while_moderation_cannot_be_read(fresh, monkeypatch):
    best = ids(ask(fresh, history=("i1", "i2"), k=1))[0]
    decision = fresh.store.moderation.decide("hide", "me", "broken", item_id=best)
    fresh.look()
    assert best not in ids(ask(fresh, history=("i1", "i2"), k=20))

    from genre.store.faults import StoreError

    def away() -> int:
        raise StoreError("the file is gone", "gone")

    monkeypatch.setattr(fresh.store, "version", away)
    fresh.look()
    answer = ask(fresh, history=("i1", "i2"), k=20)
    assert best not in ids(answer)
    assert answer.degraded == ["moderation_stale"]
    assert fresh.store_problem == "the file is gone"
    monkeypatch.undo()
    fresh.store.moderation.release(decision.number, "me", "mended")
    fresh.look()
    assert ids(ask(fresh, history=("i1", "i2"), k=1)) == [best]
    assert fresh.store_problem is None


def test_a_decision_ends_by_itself(fresh):
    fresh.store.moderation.decide("hide", "me", "for a moment", item_id="i3", until=time.time() + 0.3)
    fresh.look()
    assert "i3" in fresh.moderation.now.refused
    time.sleep(0.4)
    fresh.look()
    assert "i3" not in fresh.moderation.now.refused


def test_a_rule_about_a_column_that_a_model_lacks_blocks_all_of_it(fresh):
    decision = fresh.store.moderation.decide("block", "me", "recalled", rule={"maker": ["acme"]})
    fresh.look()
    assert ask(fresh, user_id="u0", k=5).items == []
    fresh.store.moderation.release(decision.number, "me", "no such column")
    fresh.look()
    assert ask(fresh, user_id="u0", k=5).items


def test_what_filters_leave_short_is_filled_from_the_reserve(fresh):
    model = all_spoilt(fresh.models.active, Few(0))
    known = model.item_ids[:2]
    answer = ask(fresh, model, history=(known[0],), k=10)
    assert [one["origin"] for one in answer.items] == ["ranked"] + ["reserve"] * 9
    assert ids(answer)[0] == known[1]
    assert known[0] not in ids(answer)
    assert len(set(ids(answer))) == 10


def test_events_of_another_process_are_noticed(fresh):
    assert ids(ask(fresh, user_id="walker", k=1))
    fresh.store.events.append([event(user_id="walker", item_id=f"i{i}", timestamp=2e6 + i) for i in (3, 4, 5)])
    fresh.look()
    assert ids(ask(fresh, user_id="walker", k=1)) == ["i6"]


def test_an_event_that_the_run_s_data_hold_too_counts_once(fresh):
    model = fresh.models.active
    old = model.person("u7", ()).history
    item, when = model.item_ids[old.item[0]], float(old.times[0])
    fresh.store.events.append([event(user_id="u7", item_id=item, timestamp=when, value=5)])
    person = model.person("u7", fresh.engine.people.read("u7").events)
    assert len(person.history.item) == len(old.item)
    fresh.store.events.append([event(user_id="u7", item_id=item, timestamp=when + 1)])
    fresh.engine.people.forget(["u7"])
    assert len(model.person("u7", fresh.engine.people.read("u7").events).history.item) == len(old.item) + 1


def test_skips_make_no_history(fresh):
    events = [event(user_id="x", item_id="i1"), event(user_id="x", item_id="i2", action="skip")]
    history = fresh.models.active.person("x", events).history
    assert [fresh.models.active.item_ids[row] for row in history.item] == ["i1"]


def test_an_event_that_comes_while_the_past_is_read_is_not_lost(fresh, monkeypatch):
    people, latest = fresh.engine.people, fresh.store.events.latest

    def read_and_meanwhile(user: str, limit: int) -> list[Event]:
        found = latest(user, limit)
        fresh.store.events.append([event(user_id=user, item_id="i1")])
        people.forget([user])
        return found

    monkeypatch.setattr(fresh.store.events, "latest", read_and_meanwhile)
    assert people.read("racer").events == ()
    monkeypatch.undo()
    assert [one.item_id for one in people.read("racer").events] == ["i1"]


def test_more_than_there_is_room_for_is_refused_at_once(served):
    inference, hanging = Inference(room=2, block=4, source_seconds=1), threading.Event()
    first = inference.submit(Call(hanging.wait, time.monotonic() + 60))
    while len(inference):
        time.sleep(0.001)
    waiting = [inference.submit(Call(lambda: 1, time.monotonic() + 60)) for _ in range(2)]
    with pytest.raises(Full):
        inference.submit(Call(lambda: 2, time.monotonic() + 60))
    hanging.set()
    assert first.result(5)
    assert [one.result(5) for one in waiting] == [1, 1]
    inference.close()
    with pytest.raises(Full):
        inference.submit(Call(lambda: 3, time.monotonic() + 60))


def test_one_bad_request_does_not_spoil_the_block(fresh):
    model = fresh.models.active
    history = model.of_items(["i1"]).history

    def of(n_items: int) -> Ask:
        return Ask(model, history, Query(k=2), np.ones(n_items, dtype=bool), None, time.monotonic() + 30)

    inference, hanging = Inference(room=9, block=9, source_seconds=9), threading.Event()
    inference.submit(Call(hanging.wait, time.monotonic() + 60))
    futures: list[Future[Any]] = [inference.submit(of(n)) for n in (20, 3, 20)]
    hanging.set()
    assert [len(futures[i].result(10).items) for i in (0, 2)] == [2, 2]
    with pytest.raises(IndexError):
        futures[1].result(10)
    inference.close()


def test_a_failure_that_nobody_foresaw_is_answered_for_too(fresh, monkeypatch):
    def broken(asks: list[Ask]) -> list[Slate]:
        raise ZeroDivisionError

    monkeypatch.setattr(fresh.engine.inference, "slates", broken)
    answer = ask(fresh, user_id="u9", k=3)
    assert (answer.rung, answer.degraded, len(answer.items)) == ("popular", ["model_failed"], 3)


def test_slates_that_cannot_be_written_are_lost_and_counted_and_the_rest_written_later(served, monkeypatch):
    from genre.serve.measures import Measures
    from genre.serve.slatelog import SlateLog
    from genre.store.faults import StoreError
    from genre.store.records import SlateRow

    kept: list[SlateRow] = []
    locked = threading.Event()

    def add(rows: list[SlateRow]) -> int:
        if not locked.is_set():
            raise StoreError("locked", "locked")
        kept.extend(rows)
        return len(rows)

    monkeypatch.setattr(served.store.slates, "add", add)
    measures = Measures()
    log = SlateLog(served.store, 3, measures)
    for n in range(5):
        log.put(SlateRow(str(n), None, "m", [], 0.0))
    assert b"genre_slates_lost_total 2.0" in measures.text()
    locked.set()
    log.close(5)
    assert [one.slate_id for one in kept] == ["0", "1", "2"]


TABLE = pa.table(
    {
        "item_id": ["a", "b", "c", "d"],
        "kind": [["x", "y"], ["y"], None, ["z"]],
        "year": [1990, 2000, None, 2010],
        "code": ["1", "2", "3", None],
    }
)


@pytest.mark.parametrize(
    ("condition", "good"),
    [
        (Condition("kind", any_of=("y",)), "ab"),
        (Condition("kind", any_of=("y", "z"), none_of=("x",)), "bd"),
        (Condition("kind", none_of=("x",)), "bcd"),
        (Condition("year", low=2000), "bd"),
        (Condition("year", low=1990, high=2000), "ab"),
        (Condition("year", any_of=(2000.0,)), "b"),
        (Condition("code", any_of=(3.0, "1")), "ac"),
        (Condition("code", any_of=("nothing",)), ""),
    ],
)
def test_conditions_choose_items_by_their_columns(condition, good):
    mask = Columns(TABLE).mask([condition])
    assert mask is not None
    assert "".join(np.array(list("abcd"))[mask]) == good


def test_an_unknown_column_is_told_with_a_suggestion():
    with pytest.raises(GenreError, match="did you mean 'year'"):
        Columns(TABLE).mask([Condition("yaer", low=1)])
    assert Columns(TABLE).mask([]) is None


@given(
    ranked=st.lists(st.integers(0, 9), unique=True, max_size=10),
    pins=st.lists(st.integers(0, 9), unique=True, max_size=4),
    reserve=st.lists(st.integers(0, 14), unique=True),
    k=st.integers(1, 8),
)
def test_a_slate_is_arranged_without_repeats_or_gaps(ranked, pins, reserve, k):
    items = [{"item_id": str(i), "score": 1.0, "origin": "ranked", "sources": {}, "predictions": {}} for i in ranked]
    placed = [Pin(str(item), place) for place, item in enumerate(pins, 1)]
    made = arrange(items, placed, map(str, reserve), k)
    found = [one["item_id"] for one in made.items]
    assert len(found) == len(set(found)) == min(k, len({*ranked, *pins, *reserve}))
    assert found[: len(pins)] == [str(i) for i in pins][:k]
    rest = [i for i in found if int(i) in ranked and int(i) not in pins]
    assert rest == [str(i) for i in ranked if i not in pins][: len(rest)]


@given(calls=st.lists(st.tuples(st.floats(0, 5), st.booleans()), max_size=60))
def test_a_bucket_gives_no_more_than_its_rate_and_burst(calls):
    now = [0.0]
    buckets = Buckets(lambda: now[0], lambda: 1e9)
    given_at = []
    for wait, _ in calls:
        now[0] += wait
        if not buckets.take("a", rate=2, burst=3):
            given_at.append(now[0])
    for i, start in enumerate(given_at):
        for j in range(i, len(given_at)):
            assert j - i + 1 <= 3 + 2 * (given_at[j] - start) + 1e-6


def test_a_daily_quota_ends_at_midnight_and_says_when():
    today = [10.5 * DAY]
    buckets = Buckets(lambda: 0.0, lambda: today[0])
    assert [buckets.take("a", 1, 100, daily=2) for _ in range(3)] == [0, 0, DAY / 2]
    assert buckets.take("b", 1, 100, daily=2) == 0
    today[0] += DAY / 2
    assert buckets.take("a", 1, 100, daily=2) == 0


@given(st.recursive(st.none() | st.booleans() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)))
def test_depth_is_that_of_the_parsed_value(value):
    import json

    def deep(one: Any) -> int:
        inner = one.values() if isinstance(one, dict) else one if isinstance(one, list) else None
        return 0 if inner is None else 1 + max(map(deep, inner), default=0)

    assert depth(json.dumps(value).encode(), 0) == deep(value)
    assert depth(json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass"), 0) == deep(value)


def test_a_cache_forgets_what_was_asked_for_longest_ago():
    cache: Cache[int, int] = Cache(2)
    cache.put(1, 1)
    cache.put(2, 2)
    assert cache.get(1) == 1
    cache.put(3, 3)
    assert (cache.get(1), cache.get(2), cache.get(3)) == (1, None, 3)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "[::1]", "127.9.9.9"])
def test_loopback_addresses_are_known(host):
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "example.org", "127.0.0.1.evil.org", ""])
def test_all_others_are_public(host):
    assert not is_loopback(host)


def an_experiment(*shares: float) -> Experiment:
    arms = [{"name": f"arm{i}", "share": share} for i, share in enumerate(shares)]
    return Experiment("trial", "running", {"arms": arms, "actions": ["buy"]}, "me", 0.0)


def test_users_are_divided_by_the_shares_and_anew_for_each_experiment():
    trial = an_experiment(0.2, 0.5)
    arms = [arm_for(trial, f"user{i}") for i in range(5000)]
    counts = [sum(arm is not None and arm.name == name for arm in arms) / 5000 for name in ("arm0", "arm1")]
    assert counts == pytest.approx([0.2, 0.5], abs=0.03)
    one, two = ([share_of(name, f"user{i}") for i in range(2000)] for name in ("trial", "other"))
    assert abs(np.corrcoef(one, two)[0, 1]) < 0.06


def test_intervals_are_drawn_over_users_and_hold_what_is_true():
    rng = np.random.default_rng(0)
    held = 0
    for trial in range(40):
        outcomes = []
        for arm, rate in (("arm0", 0.2), ("arm1", 0.2)):
            for user in range(150):
                likes = rng.beta(1, 1 / rate - 1)
                slates = int(rng.integers(1, 12))
                outcomes.append(Outcome(f"{user}", arm, slates, int(rng.binomial(slates, likes))))
        told, [difference] = results(an_experiment(0.5, 0.5), outcomes, seed=trial)
        assert told[0].slates == sum(one.slates for one in outcomes if one.arm == "arm0")
        assert difference.ci95 is not None
        held += difference.ci95[0] <= 0 <= difference.ci95[1]
    assert held >= 34, "a 95 % interval over slates as if they were independent would hold far less often"
    told, [nothing] = results(an_experiment(0.5, 0.5), [])
    assert (told[0].rate, nothing.difference, nothing.verdict) == (None, None, "no difference")


def metrics(low: float, high: float, verdict: str = "better", contract: str = "same") -> dict[str, Any]:
    measured = {"ndcg@10": {"value": (low + high) / 2, "ci95": [low, high]}}
    gate = {"metric": "ndcg@10", "verdict": verdict, "sentence": "as it is."}
    return {"contract": contract, "gate": gate, "systems": {"genre": measured}, "larger_is_better": {"ndcg@10": True}}


@pytest.mark.parametrize(
    ("candidate", "active", "passed"),
    [
        (metrics(0.5, 0.6), metrics(0.4, 0.45), True),
        (metrics(0.4, 0.5), metrics(0.45, 0.55), True),
        (metrics(0.4, 0.45), metrics(0.5, 0.6), False),
        (metrics(0.4, 0.45), metrics(0.5, 0.6, contract="another"), True),
        (metrics(0.5, 0.6, verdict="worse"), None, False),
        (None, metrics(0.5, 0.6), None),
    ],
)
def test_a_model_that_is_shown_to_be_worse_is_refused(candidate, active, passed):
    assert judge(candidate, active).passed is passed
