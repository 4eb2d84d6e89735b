"""What a policy learned in service outlives the service, and can be made again from the store."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import update

from explored import beliefs, ids, learned, learning, recommended, section, settled, touch, users_of
from genre.component import Slot
from genre.indexing import add
from genre.run import Run
from genre.serve.beliefs import FILE, GOOD, Beliefs, label_of, packed, unpacked
from genre.serve.exploring import OTHERS, POLICY
from genre.serve.loaded import Loaded
from genre.serve.service import Service
from genre.store import open_store
from genre.store.pruning import prune
from genre.store.tables import slates
from genre.stores.sqlite import Sqlite
from served import a_run, asking, running, service

LINEAR = {"type": "thompson_linear", "forget": 0.01}
WINDOW = 600.0


def exploring(policy: Any = LINEAR, **fields: Any) -> Any:
    """A policy that chooses for everybody, and learns."""
    built = Slot("policies").build(policy)
    return section(**{"share": 1.0, "policy": built, "learn": True, "window_seconds": WINDOW, **fields})


def visited(made: Service, n: int, start: int = 0) -> None:
    """``n`` slates for readers of different histories, every other of which is answered to."""
    for i in range(start, start + n):
        answer, _ = recommended(made, f"reader{i % 7}", history=(f"i{i % 20}", f"i{(i + 1) % 20}"), k=2)
        if i % 2:
            touch(made, answer.slate_id, f"reader{i % 7}", ids(answer)[i % 3 % 2], "like" if i % 5 else "click")
    settled(made)


def replayed(made: Service) -> Beliefs:
    """What the store alone says, up to what the service has learned from."""
    live = beliefs(made.explorer)
    fresh = Beliefs(live.policy, live.model, made.store, live.worth, live.window)
    fresh.learn(live.mark[0])
    return fresh


def alike(one: Beliefs, other: Beliefs) -> None:
    assert (one.slates, one.unused, one.last) == (other.slates, other.unused, other.last)
    assert one.state.keys() == other.state.keys()
    for name, array in one.state.items():
        np.testing.assert_allclose(array, other.state[name], rtol=1e-6, atol=1e-9, err_msg=name)


POLICIES: list[Any] = [
    "thompson_beta",
    LINEAR,
    "thompson_neural",
    "linucb",
    {"type": "cold_start", "inner": "thompson_neural"},
    {"type": "cascade", "inner": "thompson_linear"},
]


@pytest.mark.parametrize("policy", POLICIES, ids=["beta", "linear", "neural", "linucb", "cold", "cascade"])
def test_the_store_alone_gives_what_was_learned(policy, tmp_path, monkeypatch):
    monkeypatch.setattr("genre.serve.beliefs.PAGE", 4)
    with service(a_run(tmp_path)) as made:
        learning(made, Slot("policies").build(policy))
        for start, n in ((0, 9), (9, 1), (10, 1)):
            visited(made, n, start)
            assert learned(made) == n
        live = beliefs(made.explorer)
        assert live.slates == 11
        assert any(np.any(array) for array in live.state.values())
        monkeypatch.setattr("genre.serve.beliefs.PAGE", 1000)
        alike(live, replayed(made))


def test_a_restart_goes_on_from_the_file_and_what_came_since(tmp_path, monkeypatch):
    run = a_run(tmp_path)
    with service(run, explore=exploring()) as made:
        visited(made, 8)
        learned(made)
    file = run / FILE
    assert file.stat().st_mode & 0o77 == 0, "what people did is in it"
    with service(run, explore=exploring()) as made:
        live = beliefs(made.explorer)
        assert (live.slates, made.explorer.learned) == (8, 8)
        alike(live, replayed(made))
        visited(made, 5, 8)
        assert learned(made) == 5
        before = file.read_bytes()
        monkeypatch.setattr("genre.serve.exploring.KEEP", 0.0)
        made.explorer.learn()
        assert file.read_bytes() != before, "it is written now and then"
        assert not live.keep(), "and only where there is something new"
        alike(live, replayed(made))
    with service(run, explore=exploring(learn=False)) as made:
        assert beliefs(made.explorer).slates == 13, "it chooses by what it has learned"
        visited(made, 2, 13)
        assert learned(made) == 0


def test_items_that_join_the_run_take_nothing_of_what_was_learned(tmp_path):
    run = a_run(tmp_path)
    with service(run, explore=exploring()) as made:
        visited(made, 8)
        assert learned(made) == 8
        before = beliefs(made.explorer)
        new = tmp_path / "new.csv"
        new.write_text("item_id,title\nbrand-new,a thing of another colour\n")
        add(Run.open(run), new)
        again = made.models.load("circle")
        assert again.version != before.model.version
        assert "brand-new" in again.rows
        made.explorer.ready(again)
        after = made.explorer._taught.get(again.version)
        assert isinstance(after, Beliefs)
        made.explorer.learn(now=time.time() + WINDOW + 3)
        assert (after.label, after.slates) == (before.label, 8)
        assert len(after.vectors) == len(before.vectors) + 1


def test_a_model_that_is_read_again_is_the_one_that_is_believed_of(tmp_path):
    with service(a_run(tmp_path), explore=exploring()) as made:
        visited(made, 4)
        learned(made)
        before = beliefs(made.explorer)
        again = Loaded.load(made.models.active.folder)
        made.explorer.ready(again)
        after = beliefs(made.explorer)
        assert (after.model is again, before.model is again) == (True, False)
        alike(before, after)


def test_a_little_is_learned_at_a_time_while_others_wait(tmp_path, monkeypatch):
    monkeypatch.setattr("genre.serve.beliefs.PAGE", 2)
    with service(a_run(tmp_path), explore=exploring()) as made:
        visited(made, 7)
        later = time.time() + WINDOW + 3
        assert [made.explorer.learn(now=later, pages=1) for _ in range(5)] == [2, 2, 2, 1, 0]
        with made.explorer._learning:
            assert made.explorer.learn(now=later, pages=1) == 0, "it does not wait for who learns already"


def test_what_is_killed_forgets_nothing(tmp_path):
    run = a_run(tmp_path)
    with service(run, explore=exploring()) as made:
        visited(made, 6)
        learned(made)
    explore = "explore={share: 1.0, pool: 6, learn: true, window_seconds: 0.5, policy: {type: thompson_linear}}"
    (run / FILE).unlink()
    with running(run, explore) as other, other.client() as client:
        for n in range(12):
            asked = {"user_id": "reader", "history": [f"i{n}"], "k": 2, "deadline_ms": 5000}
            slate = client.post("/v1/recommend", json=asked).json()
            event = {"user_id": "reader", "item_id": slate["items"][0]["item_id"], "action": "like"}
            client.post("/v1/events", json={"events": [{**event, "slate_id": slate["slate_id"]}]})
        until = time.monotonic() + 20
        while client.get("/v1/policy").json()["learned"] < 18 and time.monotonic() < until:
            time.sleep(0.1)
        assert client.get("/v1/policy").json()["learned"] == 18, "six from before, made anew from the store"
        os.kill(other.process.pid, signal.SIGKILL)
        other.process.wait(10)
    assert not (run / FILE).exists()
    with service(run, explore=exploring("thompson_linear", window_seconds=0.5)) as made:
        made.explorer.learn(now=time.time() + 10)
        live = beliefs(made.explorer)
        assert live.slates == 18
        assert live.state["moment"][0] > 0
        alike(live, replayed(made))


def changed(file: Path) -> None:
    raw = bytearray(file.read_bytes())
    raw[-1] ^= 1
    file.write_bytes(bytes(raw))


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:100])


SPOILT: list[tuple[Any, dict[str, Any], str]] = [
    (changed, {}, "its numbers are not those that were written"),
    (cut, {}, "it is damaged"),
    (None, {"policy": {"type": "thompson_linear", "prior": 2.0}}, "it is of another policy"),
    (None, {"window_seconds": 300.0}, "it is of another window"),
]


@pytest.mark.parametrize(("spoil", "fields", "why"), SPOILT, ids=["bytes", "length", "policy", "window"])
def test_what_does_not_fit_is_refused_by_name_and_learned_anew(spoil, fields, why, tmp_path, caplog):
    run = a_run(tmp_path)
    with service(run, explore=exploring()) as made:
        visited(made, 6)
        learned(made)
    if spoil is not None:
        spoil(run / FILE)
    with service(run, explore=exploring(**fields)) as made:
        assert why in caplog.text
        assert str(FILE) in caplog.text
        learned(made)
        assert beliefs(made.explorer).slates == 6
        alike(beliefs(made.explorer), replayed(made))


def test_a_file_of_another_model_another_store_or_of_slates_that_are_gone_is_refused(tmp_path):
    run = a_run(tmp_path)
    with service(run, explore=exploring()) as made:
        visited(made, 6)
        learned(made)
        live = beliefs(made.explorer)
        assert live.keep()
        assert live.recall(time.time()) is None
        assert live.recall(live.mark[0] - 1) == "it is of a time to come"
        live.label = "circle@another"
        assert live.recall(time.time()) == "it is of another model"
        live.label = label_of(live.model)
        with open_store(Sqlite(path=tmp_path / "other.db"), run) as other:
            elsewhere = Beliefs(live.policy, live.model, other, live.worth, live.window)
            assert elsewhere.recall(time.time()) == "it is of another store"
        user = made.store.slates.get(live.last[1]).user_id
        assert user is not None
        made.store.erase(user, "me")
        gone = sum(i % 7 == int(user.removeprefix("reader")) for i in range(6))
    with service(run, explore=exploring()) as made:
        learned(made)
        assert beliefs(made.explorer).slates == 6 - gone, "who was erased teaches no more"


def test_what_was_learned_of_slates_that_were_pruned_stays(tmp_path):
    run = a_run(tmp_path)
    with service(run, explore=exploring()) as made:
        visited(made, 4)
        learned(made)
        prune(made.store.access, time.time(), "me")
        visited(made, 2, 4)
    with service(run, explore=exploring()) as made:
        assert beliefs(made.explorer).slates == 4
        assert learned(made) == 2


def test_a_clock_that_goes_back_lets_it_learn_anew(tmp_path, caplog):
    with service(a_run(tmp_path), explore=exploring()) as made:
        visited(made, 4)
        made.explorer.learn(now=time.time() + 10 * WINDOW)
        visited(made, 3, 4)
        assert learned(made) == 7, "those made before the clock's time had come teach too"
        assert "the clock went back" in caplog.text
        alike(beliefs(made.explorer), replayed(made))


def test_a_slate_waits_for_those_that_are_not_written_yet(tmp_path):
    with service(a_run(tmp_path), explore=exploring()) as made:
        visited(made, 3)
        made.explorer.waiting = lambda: made.store.slates.latest(2)[1].created
        assert learned(made) == 1
        made.explorer.waiting = lambda: None
        assert learned(made) == 2


def test_what_cannot_be_written_is_told_and_the_store_still_has_it(tmp_path, caplog):
    run = a_run(tmp_path)
    (run / FILE.parent).write_text("in the way")
    with service(run, explore=exploring()) as made:
        visited(made, 3)
        learned(made)
        made.explorer.learn(to_keep=True)
        assert "could not be written" in caplog.text
    with service(run, explore=exploring()) as made:
        assert learned(made) == 3


def test_a_slate_that_does_not_say_what_the_policy_saw_is_counted(tmp_path):
    with service(a_run(tmp_path), explore=exploring("thompson_linear")) as made:
        visited(made, 3)
        first, second, _ = made.store.slates.latest(3)
        with made.store.access.engine.connect() as connection, connection.begin():
            for one, request in ((first, {"policy": "softmax"}), (second, {**second.request, "person": "eHh4"})):
                connection.execute(update(slates).values(request=request).where(slates.c.slate_id == one.slate_id))
        assert learned(made) == 1
        assert made.explorer.forgotten == 2


def test_two_services_of_one_store_believe_the_same(tmp_path):
    shared = Sqlite(path=tmp_path / "shared.db", durability="normal")
    runs = [a_run(tmp_path / side) for side in ("left", "right")]
    both = [service(run, shared, explore=exploring("thompson_neural")) for run in runs]
    with both[0] as left, both[1] as right:
        for n, made in enumerate((left, right, left)):
            visited(made, 4, 4 * n)
        assert (learned(left), learned(right)) == (12, 12)
        np.testing.assert_array_equal(*(beliefs(one.explorer).state["committee"] for one in (left, right)))


def test_another_policy_learns_from_the_slates_of_the_one_before(tmp_path):
    with service(a_run(tmp_path)) as made:
        for n, policy in enumerate(("thompson_linear", "thompson_beta", "thompson_neural")):
            learning(made, Slot("policies").build(policy))
            visited(made, 3, 3 * n)
            # The slates of thompson_beta do not hold what the last one would have to know.
            assert (learned(made), made.explorer.forgotten) == [(3, 0), (6, 0), (6, 3)][n]


def test_a_slate_that_earned_too_much_is_counted_alone(tmp_path, caplog):
    with service(a_run(tmp_path)) as made:
        explorer = learning(made, Slot("policies").build("thompson_beta"))
        visited(made, 4)
        beliefs(explorer).worth["like"] = 3.0
        assert learned(made) == 2
        assert explorer.forgotten == 2
        assert "the policy cannot learn from slate" in caplog.text


@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), max_size=70))
def test_a_vector_is_kept_with_every_bit(values):
    vector = np.array(values, dtype=np.float32)
    found = unpacked(packed(vector), len(vector))
    assert found is not None
    assert found.tobytes() == vector.tobytes()
    assert unpacked(packed(vector), len(vector) + 1) is None


@pytest.mark.parametrize("bad", [None, 7, "?", "AAA", "AAAA"])
def test_what_is_no_vector_is_none(bad):
    assert unpacked(bad, 1) is None


# Back to what was good


def earning(made: Service, users: list[str], good: int, **wish: Any) -> None:
    """A slate for each, of which the first ``good`` are liked."""
    shown = [(user, recommended(made, user, history=("i2", "i3"), **wish)[0]) for user in users]
    settled(made)
    for user, answer in shown[:good]:
        touch(made, answer.slate_id, user, ids(answer)[0], "like")


@pytest.mark.parametrize("way", ["file", "file and pruned", "store"])
def test_a_policy_that_turns_worse_goes_back_to_when_it_was_better_and_then_stops(way, tmp_path):
    run = a_run(tmp_path)
    with service(run, explore=exploring(share=0.5)) as made:
        explorer = made.explorer
        mine, others = users_of(made, POLICY, 16), users_of(made, OTHERS, 16)
        earning(made, mine, 13)
        earning(made, others, 3)
        learned(made)
        was = beliefs(explorer)
        made.judge()
        good, state, count = explorer.good, was.state, was.slates
        assert (explorer.on, explorer.held, count) == (True, None, 16)
        assert list(good["marks"]) == [was.label]
        made.judge()
        assert explorer.good == good, "nothing new was seen since"
        if way == "store":
            (run / GOOD).unlink()
        if way == "file and pruned":
            assert prune(made.store.access, good["marks"][was.label], "me") == 32

        earning(made, mine, 2)
        earning(made, others, 14)
        assert learned(made) == 16
        assert not np.allclose(was.state["moment"], state["moment"])
        made.judge()
        assert (explorer.on, explorer.held) == (True, good["marks"])
        assert "less than those of the others" in explorer.why
        deed = made.store.audit.list(limit=1).rows[0]
        assert (deed.who, deed.action) == ("this service", "policy.return")
        assert (learned(made), was.slates) == (count if way == "store" else 0, count)
        assert learned(made) == 0, "it learns no more"
        np.testing.assert_allclose(was.state["moment"], state["moment"])
        np.testing.assert_allclose(was.state["committee"], state["committee"], rtol=1e-6)
        with asking(made) as ask:
            assert ask("get", "/v1/policy").json()["held"] is True
    with service(run, explore=exploring(share=0.5)) as made:
        explorer = made.explorer
        learned(made)
        assert (explorer.held, beliefs(explorer).slates) == (good["marks"], count), "a restart holds it too"
        earning(made, mine, 2)
        earning(made, others, 14)
        made.judge()
        assert not explorer.on, "worse again: there is nothing better to go back to"
        assert made.store.audit.list(limit=1).rows[0].action == "policy.stop"
        made.switch(True, "mended", "me")
        made.look()
        assert (explorer.on, explorer.held) == (True, None)
        assert learned(made) == 32, "it learns on, from what came meanwhile too"
        if way != "file and pruned":
            alike(beliefs(explorer), replayed(made))


def test_one_that_never_was_better_or_does_not_learn_is_stopped(tmp_path):
    for n, fields in enumerate(({"learn": True}, {"policy": "softmax", "learn": False})):
        with service(a_run(tmp_path, f"run{n}"), explore=exploring(share=0.5, **fields)) as made:
            mine, others = users_of(made, POLICY, 16), users_of(made, OTHERS, 16)
            if n:
                earning(made, mine, 13)
                earning(made, others, 3)
                made.judge()
                assert not made.explorer.good
                made.switch(True, "anew", "me")
                made.look()
            earning(made, mine, 2)
            earning(made, others, 14)
            made.judge()
            assert (made.explorer.on, made.explorer.held) == (False, None)
