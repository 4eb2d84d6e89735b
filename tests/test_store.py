"""The store keeps what it is given, gives it back, and says the same on a file as on a server."""

from __future__ import annotations

import ast
import json
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as example_settings
from hypothesis import strategies as st
from sqlalchemy import event as engine_events
from sqlalchemy import select, text, update

import genre.store
from databases import BOTH, fresh, settings
from genre.component import Slot
from genre.errors import GenreError
from genre.store import Store, open_store
from genre.store import tables as t
from genre.store.backup import backup, restore, verify
from genre.store.checking import LONGEST_CONTEXT, checked, checked_entry
from genre.store.faults import BadCursor, Conflict, LeaseLost, NotFound, Overloaded, StoreError
from genre.store.migrate import migrate, version_of
from genre.store.records import Entry, Event, Rejected, SlateRow
from genre.store.replay import differences, rebuild
from genre.stores import of_address

NOW = 1_800_000_000.0


class Clock:
    """A clock that tests can set."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=BOTH)
def store(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> Iterator[Store]:
    with fresh(request.param, tmp_path, clock=clock) as made:
        yield made


def event(user: str = "ann", item: str = "tea", action: str = "view", **fields: Any) -> Event:
    made = checked({"user_id": user, "item_id": item, "action": action, **fields})
    assert isinstance(made, Event), made
    return made


def contents(store: Store) -> dict[str, list[Any]]:
    """Every row of every table."""
    with store.access.reading() as connection:
        return {
            table.name: sorted(tuple(map(repr, row)) for row in connection.execute(select(table)))
            for table in t.metadata.sorted_tables
        }


# Events


def test_an_event_is_kept_once_whoever_sends_it_again(store: Store):
    one = event(
        event_id="e1", value=4.5, timestamp=NOW - 5, slate_id="s", position=2, context={"page": "home", "n": [1]}
    )
    first = store.events.append([one, one, event(event_id="e2")])
    assert [r.status for r in first] == ["accepted", "duplicate", "accepted"]
    assert [r.status for r in store.events.append([one])] == ["duplicate"]
    other = store.events.append([event(item="coffee", event_id="e1")])[0]
    assert (other.status, "another event" in (other.reason or "")) == ("rejected", True)
    kept = store.events.latest("ann")
    assert kept[0] == replace(one, seq=1, received=NOW, time=NOW - 5)
    assert [e.event_id for e in kept] == ["e1", "e2"]
    assert (store.events.count(), store.events.last_seq()) == (2, 2)
    assert store.events.known(["e2", "e3", "a\0b"]) == [True, False, False]


def test_events_of_strangers_are_kept_and_told_of(store: Store):
    store.items.put([Entry("tea")])
    store.users.put([Entry("ann"), Entry("bob")])
    store.users.delete("bob")
    said = store.events.append([event(), event("zoe"), event(item="rum"), event("bob")])
    assert [(r.unknown_user, r.unknown_item) for r in said] == [
        (False, False),
        (True, False),
        (False, True),
        (True, False),
    ]
    assert store.events.count() == 4


def test_histories_follow_the_clients_clock_unless_it_runs_ahead(store: Store, clock: Clock):
    sent = {"late": NOW - 50, "early": NOW - 90, "ahead": NOW + 1e6, "dead": 0.0, "none": None, "near": NOW + 60}
    store.events.append([event(item=name, timestamp=when) for name, when in sent.items()])
    assert [e.item_id for e in store.events.latest("ann")] == ["dead", "early", "late", "ahead", "none", "near"]
    assert [e.item_id for e in store.events.latest("ann", 2)] == ["none", "near"]
    kept = {e.item_id: e for e in store.events.since(0)}
    assert {name: e.timestamp for name, e in kept.items()} == sent, "what the client said stays"
    clock.now = NOW - 7200  # the server's own clock is set back
    store.events.append([event(item="after", timestamp=NOW - 7201)])
    assert [e.item_id for e in store.events.since(0)][-1] == "after", "numbers do not hang on clocks"


def test_events_are_read_by_number_and_by_what_they_are_about(store: Store):
    store.events.append([event(f"u{n % 3}", f"i{n % 5}", "view" if n % 2 else "buy") for n in range(30)])
    read: list[Event] = []
    while batch := store.events.since(read[-1].seq or 0 if read else 0, limit=7):
        read += batch
    assert [e.seq for e in read] == list(range(1, 31))
    found, cursor, pages = [], None, 0
    while pages == 0 or cursor:
        page = store.events.find(user_id="u1", action="view", cursor=cursor, limit=2)
        found, cursor, pages = found + page.rows, page.cursor, pages + 1
    assert [e.seq for e in found] == [n + 1 for n in range(30) if n % 3 == 1 and n % 2]
    assert pages == 3
    assert store.events.counts(["i0", "i9"]) == {"i0": {"buy": 3, "view": 3}}
    assert store.events.popular("buy", 2) == [("i0", 3), ("i1", 3)]
    assert store.events.find(user_id="no\0body").rows == []
    with pytest.raises(BadCursor):
        store.events.find(cursor="²")


def test_what_is_taken_back_is_neither_read_nor_counted(store: Store):
    store.events.append([event(event_id="a"), event(action="buy"), event(item="rum"), event("bob")])
    assert store.events.withdraw("ann", "tea", "view") == 1
    assert store.events.withdraw("ann", "tea", "view") == 0
    assert [(e.item_id, e.action) for e in store.events.latest("ann")] == [("tea", "buy"), ("rum", "view")]
    assert store.events.counts(["tea"]) == {"tea": {"buy": 1, "view": 1}}
    assert store.events.append([event(event_id="a")])[0].status == "duplicate"
    assert store.events.count() == 3


def test_thirty_two_callers_share_their_commits(store: Store):
    def send(number: int) -> None:
        for n in range(12):
            receipt = store.events.append([event(f"u{number}", f"i{n}", event_id=f"{number}-{n}")])[0]
            assert receipt.status == "accepted"

    threads = [threading.Thread(target=send, args=(number,)) for number in range(32)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.events.count() == store.events.last_seq() == 32 * 12
    assert store.writer.groups < 32 * 12 / 2
    with store.access.reading() as connection:
        assert set(differences(connection).values()) == {0}
    assert (store.health().ok, store.health().waiting) == (True, 0)


def test_reads_of_the_request_path_follow_an_index(tmp_path: Path):
    with fresh("sqlite", tmp_path) as store:
        filled(store)
        plans: list[str] = []

        def plan(connection: Any, cursor: Any, statement: str, parameters: Any, *rest: Any) -> None:
            if statement.startswith("SELECT"):
                plans.extend(row[3] for row in cursor.connection.execute(f"EXPLAIN QUERY PLAN {statement}", parameters))

        engine_events.listen(store.access.engine, "before_cursor_execute", plan)
        store.events.latest("u1")
        store.events.since(5)
        store.events.find(item_id="i1")
        store.slates.feedback("s1")
        store.slates.of_user("u1")
        store.items.get(["i1"])
    assert sum(one.startswith("SEARCH") for one in plans) == 6
    assert not any(one.startswith("SCAN") for one in plans)
    assert "events_of_user" in plans[0]


# The writer


def test_a_bad_row_harms_nobody_else(store: Store):
    def broken(connection: Any, batches: list[Any]) -> list[Any]:
        connection.execute(t.events.insert(), [{"event_id": None, "item_id": "x", "action": "y"} for _ in batches])
        return batches

    held = threading.Event()
    blocker = store.writer.submit(lambda connection, works: [held.wait(10) for _ in works], None)
    bad: Future[Any] = store.writer.submit(broken, 1)
    good = [store.events.submit([event(event_id=f"g{n}")]) for n in range(5)]
    held.set()
    assert blocker.result()
    with pytest.raises(StoreError) as caught:
        bad.result()
    assert caught.value.cause == "refused"
    assert [f.result()[0].status for f in good] == ["accepted"] * 5
    assert store.events.count() == 5


def test_a_bug_in_one_caller_is_that_callers_alone(store: Store):
    def wrong(connection: Any) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        store.access.write(wrong)
    assert store.events.append([event()])[0].status == "accepted"


def test_who_comes_to_a_full_queue_is_sent_away(tmp_path: Path):
    with fresh("sqlite", tmp_path, capacity=10) as store:
        held = threading.Event()
        store.writer.submit(lambda connection, works: [held.wait(10) for _ in works], None)
        waiting = store.events.submit([event() for _ in range(9)])
        with pytest.raises(Overloaded) as caught:
            store.events.submit([event()])
        assert caught.value.retry_after > 0
        held.set()
        assert len(waiting.result()) == 9
        assert len(store.events.append([event() for _ in range(50)])) == 50, (
            "one that is larger than the queue goes alone"
        )
    with pytest.raises(StoreError, match="closed"):
        store.events.append([event()])


def test_what_waits_when_it_is_closed_is_written(tmp_path: Path):
    store = fresh("sqlite", tmp_path)
    futures = [store.events.submit([event(event_id=f"e{n}")]) for n in range(200)]
    store.close()
    assert all(future.result()[0].status == "accepted" for future in futures)
    with open_store(store.database, create=False) as again:
        assert again.events.count() == 200


# Items and users


def test_items_and_users_are_created_replaced_patched_listed_and_deleted(store: Store, clock: Clock):
    for catalogue in (store.items, store.users):
        put = catalogue.put([Entry("b", {"title": "Bread"}), Entry("a", {"title": "Äpfel 苹果"}), Entry("B", {})])
        assert [r.status for r in put] == ["created"] * 3
        clock.now += 10
        twice = catalogue.put([Entry("b", {"title": "Rye"}), Entry("b", {"title": "Rye bread", "price": 2.5})])
        assert [r.status for r in twice] == ["replaced", "replaced"]
        kept = catalogue.get(["b", "nothing", "x\0"])
        assert [(e.columns, e.created, e.updated) for e in kept.values()] == [
            ({"title": "Rye bread", "price": 2.5}, clock.now - 10, clock.now)
        ]
        assert [e.id for e in catalogue.list().rows] == ["B", "a", "b"], "in the order of bytes on every database"
        page = catalogue.list(limit=2)
        assert ([e.id for e in page.rows], [e.id for e in catalogue.list(page.cursor).rows]) == (["B", "a"], ["b"])
        assert [e.id for e in catalogue.list(search="苹").rows] == ["a"]
        assert [e.id for e in catalogue.list(search="RYE").rows] == ["b"]
        assert catalogue.list(search="%").rows == []
        patched = catalogue.patch("b", {"price": None, "tags": ["x", {"deep": True}]})
        assert patched.columns == {"title": "Rye bread", "tags": ["x", {"deep": True}]}
        with pytest.raises(NotFound):
            catalogue.patch("nothing", {})
        with pytest.raises(Conflict):
            catalogue.patch("b", {"a": float("nan")})
        assert (catalogue.delete("a"), catalogue.delete("a"), catalogue.count()) == (True, False, 2)
        seen = catalogue.changes(0)
        assert [(e.id, e.deleted) for e in seen] == [("B", False), ("b", False), ("a", True)]
        assert catalogue.changes(seen[-1].change or 0) == []
        assert catalogue.put([Entry("a")])[0].status == "created"


def test_every_change_moves_the_version(store: Store):
    decision = store.moderation.decide("hide", "mo", "spam", item_id="tea")
    moved = [
        lambda: store.items.put([Entry("tea")]),
        lambda: store.items.patch("tea", {"a": 1}),
        lambda: store.items.delete("tea"),
        lambda: store.users.put([Entry("ann")]),
        lambda: store.moderation.release(decision.number, "mo", "fine"),
        lambda: store.keys.revoke(store.keys.add("k", "read")[0].key_id),
        lambda: store.experiments.put("x", {}, "mo"),
        lambda: store.erase("ann", "mo"),
    ]
    before = store.version()
    for change in moved:
        change()
        assert store.version() > before
        before = store.version()
    store.events.append([event()])
    assert store.version() == before


# Slates, moderation, keys, experiments, audit


def slate(number: int, user: str | None = "ann", **fields: Any) -> SlateRow:
    shown = [{"item_id": f"i{n}", "score": 1.0 - n, "propensity": 0.5} for n in range(3)]
    return SlateRow(f"s{number}", user, "m1", shown, NOW + number, **fields)


def test_what_a_policy_chose_is_read_in_order_and_with_what_was_done(store, clock):
    assert store.slates.earliest() is None
    by = {"request": {"policy": "softmax"}}
    store.slates.add([slate(3, **by), slate(1, **by), slate(2), slate(0, **by), slate(5, **by)])
    same = replace(slate(4, **by), created=NOW + 3)
    store.slates.add([same, replace(slate(6, **by), model="m2")])

    def read(after: tuple[float, str], until: float = NOW + 10, limit: int = 10) -> list[str]:
        return [one.slate_id for one in store.slates.chosen("m1", after, until, limit)]

    assert read((0.0, "")) == ["s0", "s1", "s3", "s4", "s5"]
    assert store.slates.earliest() == NOW
    assert read((0.0, ""), limit=2) == ["s0", "s1"]
    assert read((NOW + 3, "s3")) == ["s4", "s5"]
    assert read((NOW + 3, ""), NOW + 5) == ["s3", "s4"]
    store.events.append([event(item=f"i{n}", slate_id=f"s{n}") for n in (5, 3, 3, 1)])
    store.events.withdraw("ann", "i1")
    assert [one.slate_id for one in store.slates.answered(["s1", "s3", "s5", "s4", "\0"])] == ["s5", "s3", "s3"]
    assert store.slates.answered([]) == []


def test_a_slate_knows_what_became_of_it(store: Store):
    rows = [
        slate(n, f"u{n % 2}", experiment="x", arm="ab"[n % 2], degraded=["slow"] if n == 3 else []) for n in range(6)
    ]
    assert store.slates.add(rows) == 6
    assert store.slates.add([rows[0], slate(6, None, experiment="x", arm="a"), slate(6, None)]) == 1
    store.events.append([event("u0", "i1", "click", slate_id="s0"), event("u0", "i2", "click", slate_id="s0")])
    store.events.append([event("u1", "i1", "click", slate_id="s1"), event("u1", "i1", "view", slate_id="s3")])
    assert store.slates.get("s3") == rows[3]
    assert [e.item_id for e in store.slates.feedback("s0")] == ["i1", "i2"]
    assert [s.slate_id for s in store.slates.of_user("u1", 2)] == ["s5", "s3"]
    assert [s.slate_id for s in store.slates.latest(1)] == ["s6"]
    rates = {r.arm: (r.slates, r.hits, r.degraded) for r in store.slates.rates(0, ["click"])}
    assert rates == {"a": (4, 1, 0), "b": (3, 1, 1)}
    outcomes = [(o.unit, o.arm, o.slates, o.hits) for o in store.slates.outcomes("x", ["click", "view"])]
    assert outcomes == [("s6", "a", 1, 0), ("u0", "a", 3, 1), ("u1", "b", 3, 2)]
    assert [s.slate_id for s in store.slates.page(limit=3).rows] == ["s0", "s1", "s2"]
    with pytest.raises(NotFound):
        store.slates.get("s9")


def test_decisions_are_released_and_never_deleted(store: Store, clock: Clock):
    hide = store.moderation.decide("hide", "mo", "spam", item_id="tea")
    block = store.moderation.decide("block", "mo", "law", rule={"categories": ["knives"]}, until=NOW + 60)
    assert store.moderation.standing() == [hide, block]
    clock.now += 61
    assert store.moderation.standing() == [hide]
    gone = store.moderation.release(hide.number, "eve", "a mistake")
    assert (gone.released, gone.released_by, gone.released_why) == (clock.now, "eve", "a mistake")
    assert store.moderation.standing() == []
    assert [d.number for d in store.moderation.history().rows] == [2, 1]
    assert store.moderation.history("tea").rows == [gone]
    with pytest.raises(Conflict):
        store.moderation.release(hide.number, "eve", "again")
    with pytest.raises(NotFound):
        store.moderation.release(99, "eve", "nothing")
    with pytest.raises(Conflict):
        store.moderation.decide("hide", "mo", "both", item_id="tea", rule={})


def test_reviews_wait_until_somebody_settles_them(store: Store):
    first = store.moderation.report("tea", "ann", "tastes odd")
    assert store.moderation.report("tea", "bob", "too") == first
    second = store.moderation.report("rum", "bob", "too strong")
    assert store.moderation.queue().rows == [second, first]
    settled = store.moderation.resolve(first.number, "mo", "kept")
    assert (settled.resolved_by, settled.outcome) == ("mo", "kept")
    assert store.moderation.queue().rows == [second]
    with pytest.raises(Conflict):
        store.moderation.resolve(first.number, "mo", "hidden")
    assert store.moderation.report("tea", "zoe", "again").number > second.number


def test_a_key_lets_in_as_far_as_its_scope_and_as_long_as_it_holds(store: Store, clock: Clock):
    key, token = store.keys.add("shop", "write", limits={"per_second": 5.0}, expires=NOW + 60)
    assert store.keys.check(token) == key
    assert [key.allows(scope) for scope in ("read", "write", "admin")] == [True, True, False]
    secret = token.split("_", 2)[2]
    head = token.removesuffix(f"_{secret}")
    wrong = [
        "",
        token[:-1],
        token + "a",
        token.replace("genre", "Genre"),
        head,
        f"{head}_",
        f"genre_{'0' * 12}_{secret}",
    ]
    assert [store.keys.check(one) for one in [*wrong, "\0", "\ud800", "genre_" * 9]] == [None] * 10
    clock.now += 61
    assert store.keys.check(token) is None, "past its time"
    clock.now = NOW
    assert store.keys.revoke(key.key_id).revoked == NOW
    assert store.keys.check(token) is None
    assert len(store.keys.list()) == 1
    with pytest.raises(NotFound):
        store.keys.revoke("nothing")
    with pytest.raises(Conflict):
        store.keys.add("x", "root")  # type: ignore[arg-type]


def test_a_token_is_kept_nowhere(store: Store, tmp_path: Path):
    key, token = store.keys.add("shop", "admin")
    secret = token.split("_", 2)[2]
    assert len(secret) >= 43, "256 random bits"
    assert secret not in json.dumps(contents(store))
    assert key.hash not in repr(key)
    backup(store.access, tmp_path / "b.db")
    assert secret.encode() not in (tmp_path / "b.db").read_bytes()


def test_an_experiment_is_fixed_once_it_runs(store: Store):
    store.experiments.put("x", {"arms": ["a"]}, "mo")
    assert store.experiments.put("x", {"arms": ["a", "b"]}, "mo").settings == {"arms": ["a", "b"]}
    with pytest.raises(Conflict):
        store.experiments.stop("x")
    assert store.experiments.start("x").state == "running"
    for change in (lambda: store.experiments.put("x", {}, "mo"), lambda: store.experiments.delete("x")):
        with pytest.raises(Conflict):
            change()
    assert store.experiments.stop("x").stopped == NOW
    assert [e.name for e in store.experiments.list("stopped")] == ["x"]
    store.experiments.delete("x")
    with pytest.raises(NotFound):
        store.experiments.get("x")


def test_the_audit_is_read_newest_first(store: Store):
    for n in range(5):
        store.audit.add("mo", "model.load" if n % 2 else "key.add", f"t{n}", {"n": n})
    page = store.audit.list(limit=3)
    assert [d.detail["n"] for d in page.rows] == [4, 3, 2]
    assert [d.detail["n"] for d in store.audit.list(page.cursor).rows] == [1, 0]
    assert [d.target for d in store.audit.list(action="model.load").rows] == ["t3", "t1"]


def test_an_erased_user_is_nowhere_and_does_not_come_back(store: Store, tmp_path: Path):
    store.users.put([Entry("secret-ann", {"town": "secret-town"})])
    store.audit.add("mo", "user.look", "user:secret-ann")
    mine = [event("secret-ann", event_id=f"e{n}", context={"ip": "secret-ip"}, slate_id="s1") for n in range(3)]
    store.events.append([*mine, event("bob")])
    store.slates.add([slate(1, "secret-ann"), slate(2, "bob")])
    counts = store.events.counts(["tea"])
    done = store.erase("secret-ann", "mo")
    assert {name: done[name] for name in ("events", "slates", "attributes")} == {
        "events": 3,
        "slates": 1,
        "attributes": 1,
    }
    assert "secret" not in json.dumps(contents(store))
    if store.access.engine.dialect.name == "sqlite":
        assert b"secret" not in b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert store.events.counts(["tea"]) == counts, "what was done with an item stays true"
    assert [r.status for r in store.events.append(mine)] == ["duplicate"] * 3
    assert store.events.latest("secret-ann") == []
    assert rebuild(store.access) == {"item_counts": 0, "user_counts": 0}
    deed = store.audit.list(action="user.erase").rows[0]
    assert (deed.who, deed.detail["events"]) == ("mo", 3)
    assert [e.deleted for e in store.users.changes(0)] == [True]
    assert store.erase("secret-ann", "mo")["events"] == 0


# Jobs


def test_a_job_goes_to_one_worker_by_priority_and_age(store: Store, clock: Clock):
    for name, priority in (("old", 0), ("new", 0), ("first", 5), ("other kind", 9)):
        store.jobs.add("embed" if name != "other kind" else "train", {"name": name}, priority=priority)
    store.jobs.add("embed", {"name": "later"}, after=NOW + 100)
    taken = [store.jobs.claim(f"w{n}", ["embed"]) for n in range(4)]
    assert [job and job.payload["name"] for job in taken] == ["first", "old", "new", None]
    assert taken[0] is not None
    done = store.jobs.finish(taken[0], {"items": 3})
    assert (done.state, done.result, done.worker) == ("done", {"items": 3}, "w0")
    with pytest.raises(LeaseLost):
        store.jobs.finish(taken[0], {"items": 4})
    clock.now += 101
    later = store.jobs.claim("w9", ["embed"])
    assert later is not None
    assert store.jobs.heartbeat(later, {"part": 0.5}).progress == {"part": 0.5}
    assert [job.state for job in store.jobs.list("done").rows] == ["done"]


def test_a_lease_that_ran_out_is_anothers_and_the_first_may_say_no_more(store: Store, clock: Clock):
    store.jobs.add("embed", {}, max_attempts=2)
    first = store.jobs.claim("w1", ["embed"], seconds=30)
    assert first is not None
    clock.now += 29
    assert store.jobs.claim("w2", ["embed"]) is None
    first = store.jobs.heartbeat(first)
    clock.now += 29
    assert store.jobs.claim("w2", ["embed"]) is None, "the heartbeat counts"
    clock.now += 2
    second = store.jobs.claim("w2", ["embed"], seconds=30)
    assert second is not None
    assert (second.number, second.attempts) == (first.number, 2)
    for late in (
        lambda: store.jobs.heartbeat(first),
        lambda: store.jobs.finish(first, {}),
        lambda: store.jobs.fail(first, "x"),
    ):
        with pytest.raises(LeaseLost):
            late()
    clock.now += 31
    assert store.jobs.claim("w3", ["embed"]) is None, "its attempts are used up"
    assert (store.jobs.get(1).state, store.jobs.get(1).error) == ("failed", "its workers vanished")


def test_a_clock_that_is_set_back_holds_no_job_for_ever(store: Store, clock: Clock):
    store.jobs.add("embed", {})
    assert store.jobs.claim("w1", ["embed"], seconds=30) is not None
    clock.now -= 86400
    assert store.jobs.claim("w2", ["embed"], seconds=30) is not None


def test_a_job_is_tried_again_until_its_attempts_are_used_up(store: Store, clock: Clock):
    job = store.jobs.add("train", {}, key="only one", max_attempts=2)
    assert store.jobs.add("train", {"other": 1}, key="only one") == job
    claimed = store.jobs.claim("w", ["train"])
    assert claimed is not None
    waiting = store.jobs.fail(claimed, "no memory", retry_in=60)
    assert (waiting.state, waiting.error) == ("queued", "no memory")
    assert store.jobs.claim("w", ["train"]) is None
    clock.now += 60
    again = store.jobs.claim("w", ["train"])
    assert again is not None
    assert store.jobs.fail(again, "no memory", retry_in=60).state == "failed"
    fresh_one = store.jobs.add("train", {}, key="only one")
    assert fresh_one.number != job.number
    running = store.jobs.claim("w", ["train"])
    assert running is not None
    assert store.jobs.cancel(fresh_one.number).state == "cancelled"
    with pytest.raises(LeaseLost):
        store.jobs.heartbeat(running)
    with pytest.raises(Conflict):
        store.jobs.cancel(fresh_one.number)
    with pytest.raises(NotFound):
        store.jobs.get(99)


# Replay, backup, versions


def filled(store: Store) -> None:
    """Something in every table."""
    store.items.put([Entry(f"i{n}", {"title": f"Ding {n} 東"}) for n in range(20)])
    store.users.put([Entry(f"u{n}") for n in range(9)])
    store.slates.add([slate(n, f"u{n}") for n in range(5)])
    sent = [event(f"u{n % 9}", f"i{n % 7}", event_id=f"e{n}", timestamp=NOW - n, context={"n": n}) for n in range(300)]
    store.events.append(sent)
    store.moderation.decide("block", "mo", "law", rule={"title": ["x"]})
    store.moderation.report("i1", "u1", "odd")
    store.keys.add("shop", "read")
    store.experiments.put("x", {"arms": [1, 2]}, "mo")
    store.jobs.add("train", {"epochs": 3})
    store.audit.add("mo", "a", "b", {"c": None})


def test_what_is_derived_is_made_again_from_the_events(store: Store):
    filled(store)
    store.events.withdraw("u0", "i0")
    right = contents(store)
    counts, users = t.item_counts, t.user_counts

    def spoil(connection: Any) -> None:
        connection.execute(update(counts).where(counts.c.item_id == "i1").values(n=99))
        connection.execute(users.delete())
        connection.execute(counts.insert().values(item_id="ghost", action="view", n=1, latest=0.0))

    store.access.write(spoil)
    assert rebuild(store.access) == {"item_counts": 3, "user_counts": 9}
    assert contents(store) == right
    assert set(rebuild(store.access).values()) == {0}


@pytest.mark.parametrize("target", BOTH)
def test_a_backup_goes_into_any_database_and_gives_the_same_answers(store: Store, target: str, tmp_path: Path):
    filled(store)
    before = contents(store)
    file = tmp_path / "backup.db"
    stop = threading.Event()

    def write() -> None:
        n = 0
        while not stop.is_set():
            store.events.append([event("later", event_id=f"during{n}")])
            n += 1

    writing = threading.Thread(target=write)
    writing.start()
    try:
        facts = backup(store.access, file)
    finally:
        stop.set()
        writing.join()
    assert verify(file) == facts
    assert sorted(path.name for path in tmp_path.iterdir() if "backup" in path.name) == ["backup.db"]
    with pytest.raises(GenreError, match="replaces nothing"):
        backup(store.access, file)
    database = Slot("stores").build(settings(target, tmp_path))
    assert restore(database, tmp_path, file) == facts
    with open_store(database, tmp_path, create=False) as again:
        after = contents(again)
        extra = [row for row in after["events"] if row not in before["events"]]
        assert all("during" in row[1] for row in extra)
        same = ("items", "users", "slates", "decisions", "reviews", "keys", "experiments", "jobs", "audit", "meta")
        assert {name: after[name] for name in same} == {name: before[name] for name in same}
        assert again.events.append([event("u1", "i1", event_id="e1")])[0].status == "duplicate"
        assert again.events.append([event(event_id="new")])[0].status == "accepted"
        assert again.jobs.add("train", {}).number == 2, "numbers go on"
        assert set(rebuild(again.access).values()) == {0}
    with pytest.raises(GenreError, match="--force"):
        restore(database, tmp_path, file)
    assert restore(database, tmp_path, file, force=True) == facts


def test_a_damaged_backup_is_found_out(tmp_path: Path):
    file = tmp_path / "b.db"
    with fresh("sqlite", tmp_path) as store:
        filled(store)
        backup(store.access, file)
        with pytest.raises(GenreError, match="in use"):
            verify(Path(store.address))
    whole = file.read_bytes()
    half = len(whole) // 2
    (tmp_path / "cut.db").write_bytes(whole[:half])
    (tmp_path / "odd.db").write_bytes(whole[:half] + bytes(4096) + whole[half + 4096 :])
    (tmp_path / "text.db").write_text("not a store at all" * 100)
    for name in ("cut.db", "odd.db", "text.db"):
        with pytest.raises(StoreError) as caught:
            verify(tmp_path / name)
        assert caught.value.cause == "damaged"
    with pytest.raises(GenreError, match="no such file"):
        verify(tmp_path / "none.db")


def test_an_older_store_is_migrated_when_told_to_and_a_newer_one_refused(store: Store):
    filled(store)
    engine, address, newer = store.access.engine, store.address, t.VERSION + 1

    def fails(connection: Any) -> None:
        connection.execute(text("ALTER TABLE items ADD COLUMN colour TEXT"))
        raise GenreError("half way")

    with pytest.raises(GenreError, match="half way"):
        migrate(engine, address, {t.VERSION: fails}, newer)
    assert version_of(engine, address) == t.VERSION

    def works(connection: Any) -> None:
        connection.execute(text("ALTER TABLE items ADD COLUMN colour TEXT DEFAULT 'red'"))

    assert migrate(engine, address, {t.VERSION: works}, newer) == (t.VERSION, newer)
    with engine.connect() as connection:
        assert connection.execute(text("SELECT DISTINCT colour FROM items")).scalars().all() == ["red"]
    for refused in (lambda: open_store(store.database), lambda: migrate(engine, address)):
        with pytest.raises(StoreError, match="use the newer program") as caught:
            refused()
        assert caught.value.cause == "version"
    store.access.write(lambda c: c.execute(update(t.meta).where(t.meta.c.name == "version").values(value="0")))
    with pytest.raises(StoreError, match="genre store migrate"):
        open_store(store.database)
    assert migrate(engine, address, {0: lambda connection: None}) == (0, t.VERSION)
    with open_store(store.database, create=False) as again:
        assert again.events.count() == 300


def test_tables_of_another_program_are_left_alone(store: Store):
    database = store.database
    store.access.write(t.metadata.drop_all)
    store.access.write(lambda c: c.execute(text("CREATE TABLE orders (n INTEGER)")))
    with pytest.raises(StoreError, match="another program"):
        open_store(database)


def test_nothing_is_made_where_nothing_was_asked_for(tmp_path: Path):
    database = Slot("stores").build(of_address(str(tmp_path / "none.db")))
    with pytest.raises(GenreError, match="genre store init"):
        open_store(database, create=False)
    assert list(tmp_path.iterdir()) == []


# What clients send

WORDS = st.text(max_size=12)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | WORDS | st.binary(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS | st.integers(), inner, max_size=3),
    max_leaves=6,
)
FIELDS = ("event_id", "user_id", "item_id", "action", "value", "timestamp", "slate_id", "position", "context")
GOOD = st.fixed_dictionaries(
    {"user_id": WORDS, "item_id": WORDS, "action": WORDS},
    optional={"event_id": WORDS, "slate_id": WORDS, "value": st.floats() | st.integers(), "position": st.integers()}
    | {"timestamp": st.floats(-10, 1e12), "context": st.dictionaries(WORDS, VALUES, max_size=3)},
)


@given(VALUES | st.dictionaries(st.sampled_from(FIELDS) | WORDS, VALUES, max_size=9))
def test_whatever_is_sent_gives_an_event_or_a_reason(raw: Any):
    made = checked(raw)
    assert isinstance(made, Event) or (isinstance(made, Rejected) and made.reason)
    for key in ("item_id", "user_id"):
        entry = checked_entry(raw, key)
        assert isinstance(entry, Entry) or (isinstance(entry, Rejected) and entry.reason)


@pytest.fixture(params=BOTH, scope="module")
def shared(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with fresh(request.param, tmp_path_factory.mktemp("shared")) as made:
        yield made


@example_settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(raw=st.lists(GOOD, max_size=8))
def test_what_passes_the_check_is_kept_as_it_is(shared: Store, raw: list[dict[str, Any]]):
    events = [one for one in map(checked, raw) if isinstance(one, Event)]
    receipts = shared.events.append(events)
    assert [r.id for r in receipts] == [e.event_id for e in events]
    for sent, receipt in zip(events, receipts, strict=True):
        assert receipt.status in ("accepted", "duplicate", "rejected")
        if receipt.status == "accepted":
            kept = shared.events.find(user_id=sent.user_id, item_id=sent.item_id, limit=10_000).rows
            assert (
                replace(next(e for e in kept if e.event_id == sent.event_id), seq=None, received=None, time=None)
                == sent
            )
    entries = [one for one in (checked_entry(row, "item_id") for row in raw) if isinstance(one, Entry)]
    shared.items.put(entries)
    last = {entry.id: entry.columns for entry in entries}
    assert {one.id: one.columns for one in shared.items.get(last).values()} == last


@pytest.mark.parametrize(
    ("changed", "field", "reason"),
    [
        ({"user_id": None}, "user_id", "missing"),
        ({"user_id": 5}, "user_id", "a number, not a string"),
        ({"item_id": " tea"}, "item_id", "blanks"),
        ({"item_id": "  "}, "item_id", "empty"),
        ({"item_id": "x" * 257}, "item_id", "more than 256"),
        ({"item_id": "a\0b"}, "item_id", "NUL"),
        ({"user_id": "a\ud800"}, "user_id", "surrogate"),
        ({"action": "x" * 65}, "action", "more than 64"),
        ({"value": True}, "value", "a boolean"),
        ({"value": "5"}, "value", "a string"),
        ({"value": float("nan")}, "value", "finite"),
        ({"value": 10**400}, "value", "finite"),
        ({"timestamp": NOW * 1000}, "timestamp", "milliseconds"),
        ({"timestamp": -1}, "timestamp", "1970"),
        ({"timestamp": float("inf")}, "timestamp", "finite"),
        ({"position": 1.5}, "position", "whole number"),
        ({"position": -1}, "position", "whole number"),
        ({"context": []}, "context", "a list, not an object"),
        ({"context": {"a": "x" * LONGEST_CONTEXT}}, "context", "bytes"),
        ({"context": {"a": [[[[[[[[[1]]]]]]]]]}}, "context", "deeper"),
        ({"context": {"a": [float("inf")]}}, "context", "finite"),
        ({"context": {"a": "\ud800"}}, "context", "surrogate"),
        ({"context": {"\0": 1}}, "context", "NUL"),
        ({"itemid": "x"}, "itemid", "did you mean 'item_id'"),
        ({"\ud800": "x"}, None, "unusable name"),
    ],
)
def test_a_reason_names_the_field_and_what_is_wrong(changed: dict[str, Any], field: str | None, reason: str):
    made = checked({"user_id": "ann", "item_id": "tea", "action": "view", **changed})
    assert isinstance(made, Rejected)
    assert made.field == field
    assert reason in made.reason
    assert made.reason.encode()


# Passwords and addresses


def test_a_password_is_taken_from_the_environment_and_shown_nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("GENRE_STORE_PASSWORD", "hush-env")
    database = Slot("stores").build(of_address("postgresql://ann:hush-url@localhost:1/shop?connect_timeout=1"))
    engine = database.engine(tmp_path)
    assert engine.url.password == "hush-env"
    with pytest.raises(StoreError) as caught:
        open_store(database)
    assert caught.value.cause == "lost"
    for told in (str(caught.value), database.address(tmp_path), repr(database), repr(engine)):
        assert "hush" not in told
    assert "localhost:1/shop" in str(caught.value)
    for url in ("postgresql://", "mysql://a/b", "postgresql://host"):
        with pytest.raises(GenreError, match="url"):
            Slot("stores").build({"type": "postgres", "url": url}).engine(tmp_path)


def test_the_store_stands_on_the_bottom_row():
    allowed = {"component", "data", "errors", "files", "rows", "store", "stores"}
    for path in Path(genre.store.__file__).parent.glob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        modules = {n.module or "" for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
        modules |= {one.name for n in ast.walk(tree) if isinstance(n, ast.Import) for one in n.names}
        assert {m.split(".")[1] for m in modules if m.startswith("genre.")} <= allowed, path
