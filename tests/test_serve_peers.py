"""Several servers of one store: what one takes or settles holds for all. A clock that jumps, and a full disk."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from sqlalchemy import event as engine_events
from sqlalchemy import text

from databases import BOTH, settings
from genre.component import Slot
from genre.serve.service import Service
from genre.serve.wishes import Wish
from genre.store.checking import checked
from genre.store.faults import StoreError
from genre.store.records import Event, SlateRow
from served import a_run, asking, service


@pytest.fixture(scope="module", params=BOTH)
def pair(request: pytest.FixtureRequest, tmp_path_factory) -> Iterator[tuple[Service, Service]]:
    """Two servers of one store, each with run folders of its own, as on two machines."""
    store = Slot("stores").build(settings(request.param, tmp_path_factory.mktemp("store")))
    with ExitStack() as stack:
        made = []
        for name in ("one", "other"):
            folder = tmp_path_factory.mktemp(name)
            a_run(folder, "later")
            made.append(stack.enter_context(service(a_run(folder), store)))
        yield made[0], made[1]


def best(made: Service, user: str, **wish: Any) -> str:
    """The first item of a user's slate."""
    answer, _ = asyncio.run(made.recommend(Wish(user_id=user, **{"k": 1, "seconds": 5.0, **wish}), None))
    assert answer.rung == "full"
    return answer.items[0]["item_id"]


def events(user: str, *places: int, start: float = 2e6) -> list[Event]:
    made = [
        checked(
            {
                "event_id": f"{user}-{n}-{place}",
                "user_id": user,
                "item_id": f"i{place}",
                "action": "rate",
                "timestamp": start + n,
            }
        )
        for n, place in enumerate(places)
    ]
    return [one for one in made if isinstance(one, Event)]


def take(made: Service, *given: Event) -> list[str]:
    """Events as they come over HTTP; their statuses."""

    async def work() -> list[str]:
        return [one.status for one in await made.take(given)]

    return asyncio.run(work())


def follow(made: Service) -> None:
    """What the watch does when it looks."""
    made.look()
    made._tried = (None, 0.0)
    made.tend()
    if made._following is not None:
        made._following.result(60)


def test_an_event_that_one_takes_is_in_the_next_slate_of_the_other(pair):
    one, other = pair
    assert best(other, "walker")
    assert set(take(one, *events("walker", 3, 4, 5))) == {"accepted"}
    other.look()
    assert best(other, "walker") == best(one, "walker") == "i6"


def test_a_batch_that_is_sent_again_to_the_other_server_counts_once(pair):
    one, other = pair
    batch = [event for n in range(100) for event in events(f"again{n}", 1, 2, 3)]
    assert set(take(one, *batch)) == {"accepted"}
    before = one.store.events.count()
    assert set(take(other, *batch)) == {"duplicate"}
    assert set(take(one, *batch)) == {"duplicate"}
    assert one.store.events.count() == before
    with asking(other) as ask:
        sent = [{"event_id": e.event_id, "user_id": e.user_id, "item_id": e.item_id, "action": "rate"} for e in batch]
        reply = ask("post", "/v1/events", json={"events": sent}).json()
        assert (reply["accepted"], reply["duplicates"]) == (0, 300)


def test_what_is_hidden_or_revoked_at_one_is_so_at_the_other(pair):
    one, other = pair
    with asking(one) as ask, asking(other) as ask_other:
        first = best(other, "reader", history=("i1", "i2"))
        decision = ask("post", "/v1/moderation/decisions", json={"verdict": "hide", "item_id": first, "why": "x"})
        other.look()
        assert best(other, "reader", history=("i1", "i2")) != first
        assert ask("post", f"/v1/moderation/decisions/{decision.json()['number']}/release", json={"why": "x"})
        ask("post", "/v1/policy/stop", json={"why": "x"})
        other.look()
        assert not ask_other("get", "/v1/policy").json()["on"]
        ask("post", "/v1/policy/start", json={"why": "x"})
        other.look()
        assert best(other, "reader", history=("i1", "i2")) == first


def test_a_model_that_is_activated_at_one_answers_at_the_other_and_after_a_restart(pair, tmp_path):
    one, other = pair
    with asking(one) as ask:
        assert ask("post", "/v1/models/later/load").status_code == 200
        assert ask("post", "/v1/models/later/activate", json={}).json()["state"] == "active"
        other.look()
        assert other.behind() == ("later", one.models.active.version)
        assert "genre_model_behind 1.0" in other.measures.text().decode()
        follow(other)
        assert other.models.active.folder.name == "later"
        assert other.behind() is None
        with service(other.models.home / "circle", one.settings.store) as again:
            assert again.models.active.folder.name == "later", "not the run that it was started with"
        value = one.store.settled.all()["model:circle"]
        one.store.settled.put("model:circle", {**value, "version": "before items were added to it"})
        with service(other.models.home / "circle", one.settings.store) as again:
            assert (again.models.active.folder.name, again.behind()) == ("later", None), "its folder is what it is"
        one.store.settled.put("model:circle", value)
        assert ask("post", "/v1/rollback").json()["name"] == "circle"
    follow(other)
    assert other.models.active.folder.name == "circle"
    assert [model.folder.name for model in other.models.previous] == ["later"], "it was still in memory"


def test_a_model_that_is_not_here_or_damaged_is_told_and_what_answers_goes_on(pair, caplog):
    one, other = pair
    folder = other.models.home
    other.models.previous.clear()
    shutil.move(folder / "later", folder / "aside")
    with asking(one) as ask:
        ask("post", "/v1/models/later/load")
        ask("post", "/v1/models/later/activate", json={})
        follow(other)
        assert "was activated and does not answer here: no model 'later'" in caplog.text
        assert best(other, "reader")
        shutil.move(folder / "aside", folder / "later")
        version = (folder / "later" / "rank" / "manifest.json").read_bytes()
        (folder / "later" / "rank" / "manifest.json").write_bytes(version.replace(b'"hash": "', b'"hash": "0'))
        follow(other)
        assert "copy its folder" in caplog.text
        assert other.models.active.folder.name == "circle"
        (folder / "later" / "rank" / "manifest.json").write_bytes(version)
        follow(other)
        assert other.models.active.folder.name == "later"
        ask("post", "/v1/rollback")
    follow(other)
    assert other.models.active.folder.name == "circle"


def test_a_change_that_cannot_be_written_is_not_made(pair, monkeypatch):
    one, _ = pair

    def away(*_: Any) -> None:
        raise StoreError("the file is gone", "gone")

    one.models.load("later")
    monkeypatch.setattr(one.store.settled, "put", away)
    with pytest.raises(StoreError):
        one.change(lambda: one.models.activate("later"), "me")
    assert one.models.active.folder.name == "circle"
    assert one.behind() is None


def test_who_is_started_with_another_run_serves_that_one(pair):
    one, _ = pair
    one.store.settled.put("model:circle", {"name": "later", "version": "x"})
    try:
        with service(one.models.home / "later", one.settings.store) as made:
            assert made.behind() is None
        one.store.settled.put("model:circle", {"name": "../later", "version": "x"})
        with service(one.models.home / "circle", one.settings.store) as made:
            assert made.models.active.folder.name == "circle", "a name is no path"
    finally:
        active = one.models.active
        one.store.settled.put("model:circle", {"name": active.folder.name, "version": active.version})
        one.look()


def test_what_slates_earn_is_the_same_on_either_database(pair):
    one, _ = pair
    shown = [{"item_id": "i1", "team": "a"}, {"item_id": "i2", "team": "b"}]
    slates = [SlateRow(f"s{n}", f"u{n // 2}", "m", shown, 10.0 + n, experiment="e", arm="xy"[n % 2]) for n in range(4)]
    one.store.slates.add(slates)
    sent = [
        ("s0", "i1", "like"),
        ("s0", "i2", "click"),
        ("s1", "i1", "skip"),
        ("s3", "i2", "click"),
        ("s3", "i2", "view"),
    ]
    made = [
        checked({"user_id": "u", "item_id": item, "action": action, "slate_id": slate}) for slate, item, action in sent
    ]
    one.store.events.append([event for event in made if isinstance(event, Event)])
    worth = {"like": 3.0, "click": 1.0, "skip": -0.2}
    found = [(row.unit, row.arm, row.slates, row.hits) for row in one.store.slates.earned("e", worth)]
    assert found == [("u0", "x", 1, 4.0), ("u0", "y", 1, -0.2), ("u1", "x", 1, 0.0), ("u1", "y", 1, 1.0)]
    assert [row.hits for row in one.store.slates.earned("e", {}, since=12.0)] == [0.0, 0.0]
    answers = one.store.slates.answers("e", ["click", "like"])
    assert [(slate.slate_id, item) for slate, item in answers] == [("s0", "i1"), ("s0", "i2"), ("s3", "i2")]
    assert answers[0][0].items == shown


# A clock that jumps, a disk that is full


def test_a_clock_that_jumps_stops_nothing_and_loses_nothing(tmp_path, monkeypatch):
    real, off = time.time, [0.0]
    monkeypatch.setattr(time, "time", lambda: real() + off[0])
    with service(a_run(tmp_path)) as made, asking(made) as ask:
        hide = {"verdict": "hide", "item_id": "i9", "why": "for an hour", "until": real() + 3600}
        assert ask("post", "/v1/moderation/decisions", json=hide).status_code == 201
        for jump, place in ((0.0, 3), (86_400.0, 4), (-86_400.0, 5), (0.0, 6)):
            off[0] = jump
            sent = {"user_id": "walker", "item_id": f"i{place}", "action": "rate", "timestamp": real() + place}
            assert ask("post", "/v1/events", json={"events": [sent]}).json()["accepted"] == 1
            made.look()
            assert best(made, "walker")
            hidden = "i9" in made.moderation.now.refused
            assert hidden == (jump < 3600), "a decision ends by the clock, and is in force again with it"
            assert ask("get", "/v1/health/ready").json()["ready"]
        assert best(made, "walker") == "i7", "the clients' own times order what they did"
        kept = ask("get", "/v1/events", params={"user_id": "walker"}).json()["rows"]
        assert [one["item_id"] for one in kept] == ["i3", "i4", "i5", "i6"]


def test_on_a_full_disk_events_are_refused_slates_go_on_and_all_is_well_with_room_again(tmp_path):
    with service(a_run(tmp_path)) as made, asking(made) as ask:
        assert set(take(made, *events("before", 1, 2))) == {"accepted"}
        engine = made.store.access.engine
        with made.store.access.reading() as connection:
            used = int(connection.execute(text("PRAGMA page_count")).scalar_one())

        def limit(connection: Any, *rest: Any) -> None:
            connection.execute(f"PRAGMA max_page_count={used + 2}").close()

        engine_events.listen(engine, "connect", limit)
        engine.dispose()
        sent = [{"event_id": f"f{n}", "user_id": "u" * 200, "item_id": "i" * 200, "action": "view"} for n in range(500)]
        refused = ask("post", "/v1/events", json={"events": sent})
        assert refused.status_code == 503
        assert "free some space" in refused.json()["detail"]
        assert refused.headers["retry-after"]
        reply = ask("post", "/v1/recommend", json={"user_id": "u1"}).json()
        assert (reply["rung"], reply["degraded"]) == ("full", [])
        assert ask("get", "/v1/health/ready").status_code == 200
        engine_events.remove(engine, "connect", limit)
        engine.dispose()
        again = ask("post", "/v1/events", json={"events": sent}).json()
        assert (again["accepted"], again["duplicates"]) == (500, 0)
        assert ask("get", f"/v1/slates/{reply['slate_id']}").status_code == 200, "the slate waited for room"
