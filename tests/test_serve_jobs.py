"""Jobs over HTTP, each with its settings checked; and old slates that go while others write."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from databases import BOTH, fresh
from databases import settings as database
from genre.cli import commands
from genre.component import Slot
from genre.jobs import Work, do, kinds, mistakes, settings_of
from genre.store import Store, open_store, pruning
from genre.store.checking import checked
from genre.store.faults import NotFound
from genre.store.pruning import count_before, prune
from genre.store.records import Event, SlateRow
from served import a_run, asking, service

DAY = 86400.0
NOW = 1_700_000_000.0


@pytest.fixture(params=BOTH)
def ask(request, tmp_path) -> Iterator[Any]:
    kept = Slot("stores").build(database(request.param, tmp_path))
    with service(a_run(tmp_path), kept) as made, asking(made) as asked:
        yield asked


def test_a_job_waits_is_in_the_audit_and_is_cancelled(ask):
    made = ask("post", "/v1/jobs", json={"kind": "drift", "payload": {"days": 1.5, "clicks": ["buy"]}, "priority": 3})
    assert made.status_code == 201, made.text
    job = made.json()
    assert (job["kind"], job["payload"], job["state"]) == ("drift", {"days": 1.5, "clicks": ["buy"]}, "queued")
    assert ask("get", f"/v1/jobs/{job['number']}").json() == job
    deed = ask("get", "/v1/audit").json()["rows"][0]
    assert (deed["action"], deed["target"]) == ("job.add", str(job["number"]))
    assert deed["detail"] == {"kind": "drift", "payload": {"days": 1.5, "clicks": ["buy"]}}
    assert ask("post", f"/v1/jobs/{job['number']}/cancel").json()["state"] == "cancelled"
    assert ask("post", f"/v1/jobs/{job['number']}/cancel").status_code == 409
    assert ask("get", "/v1/audit").json()["rows"][0]["action"] == "job.cancel"
    for body, field, mend in (
        ({"kind": "drfit"}, "kind", "drift"),
        ({"kind": "drift", "payload": {"dyas": 3}}, "payload.dyas", "days"),
        ({"kind": "drift", "payload": {"days": "3"}}, "payload.days", "number above 0"),
        ({"kind": "drift", "payload": {"days": True}}, "payload.days", "number above 0"),
        ({"kind": "prune"}, "payload.days", "is needed"),
        ({"kind": "publish", "payload": {"run": "../../etc"}}, "payload.run", "never a path"),
        ({"kind": "backup", "payload": {"folder": "/etc"}}, "payload.folder", "command line"),
        ({"kind": "embed", "prio": 1}, "prio", "not permitted"),
    ):
        refused = ask("post", "/v1/jobs", json=body)
        assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, field)
        assert mend in refused.json()["detail"]
    both = ask("post", "/v1/jobs", json={"kind": "backup", "payload": {"keep": 0, "k": 1}}).json()["errors"]
    assert [(one["field"], one["code"]) for one in both] == [
        ("payload.keep", "setting.count"),
        ("payload.k", "setting.unknown"),
    ]
    assert both[0]["values"] == {"value": "0"}
    over = ask("post", f"/v1/jobs/{job['number']}/cancel").json()
    assert (over["code"], over["values"]) == ("job_over", {"n": job["number"]})
    limit = ask("post", "/v1/jobs", json={"kind": "embed", "priority": 101}).json()["errors"][0]
    assert (limit["code"], limit["values"]) == ("value.less_than_equal", {"le": 100})
    assert len(ask("get", "/v1/jobs").json()["rows"]) == 1, "what was refused is not there"


def test_the_kinds_say_what_they_may_be_given(tmp_path):
    with service(a_run(tmp_path)) as made, asking(made) as ask:
        rows = {one["kind"]: one for one in ask("get", "/v1/jobs/kinds").json()["rows"]}
        assert list(rows) == kinds()
        assert rows["prune"]["settings"] == [
            {
                "name": "days",
                "kind": "count",
                "what": "Slates are kept for so many days.",
                "default": "",
                "needed": True,
            }
        ]
        assert [one["name"] for one in rows["backup"]["settings"]] == ["keep"], "a path is not the client's to give"
        made.store.keys.add("reader", "read")
        made.look()
        assert ask("post", "/v1/jobs", json={"kind": "embed"}).status_code == 401


def test_one_who_may_write_only_may_put_in_no_job(tmp_path):
    with service(a_run(tmp_path)) as made, asking(made) as ask:
        token = made.store.keys.add("shop", "write")[1]
        made.look()
        for method, path in (("post", "/v1/jobs"), ("get", "/v1/jobs/kinds")):
            given = {"json": {"kind": "embed"}} if method == "post" else {}
            refused = ask(method, path, headers={"Authorization": f"Bearer {token}"}, **given)
            assert refused.status_code == 403


VALUES = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.text() | st.integers())


@settings(deadline=None, derandomize=True)
@given(st.sampled_from(kinds()), st.data())
def test_whatever_a_payload_holds_it_fits_or_each_mistake_is_named(kind, data):
    names = st.sampled_from([*settings_of(kind), "other"])
    payload = data.draw(st.dictionaries(names | st.text(max_size=5), VALUES, max_size=4))
    found = mistakes(kind, payload)
    assert all(one.mend for one in found)
    assert {one.name for one in found} <= {name[:80] for name in payload} | set(settings_of(kind))
    if "other" in payload:
        assert ("other", "unknown") in [(one.name, one.code) for one in found]
    if not found and "run" in payload and payload["run"] is not None:
        assert Path(payload["run"]).name == payload["run"]


# Old slates


@pytest.fixture(params=BOTH)
def store(request, tmp_path) -> Iterator[Store]:
    with fresh(request.param, tmp_path, clock=lambda: NOW) as made:
        yield made


def filled(store: Store, n: int = 30) -> None:
    """A slate a day, the newest of now, each with an event."""
    slates = [SlateRow(f"s{d}", f"u{d % 3}", "m@1", [{"item_id": "i"}], NOW - d * DAY) for d in range(n)]
    store.slates.add(slates)
    events = [
        checked({"user_id": f"u{d % 3}", "item_id": "i", "action": "view", "slate_id": f"s{d}"}) for d in range(n)
    ]
    store.events.append([one for one in events if isinstance(one, Event)])


def test_old_slates_go_and_no_event_does(store, monkeypatch):
    filled(store)
    monkeypatch.setattr(pruning, "BATCH", 4)
    before = NOW - 9.5 * DAY
    assert count_before(store.access, before) == 20
    told: list[int] = []
    assert prune(store.access, before, "me", told.append) == 20
    assert told == [4, 8, 12, 16, 20]
    assert [one.slate_id for one in store.slates.latest(100)] == [f"s{d}" for d in range(10)]
    with pytest.raises(NotFound, match="pruned"):
        store.slates.get("s10")
    assert store.events.count() == 30
    assert [one.slate_id for one in store.slates.feedback("s29")] == ["s29"], "events still name what is gone"
    [deed] = store.audit.list(action="slates.prune").rows
    assert (deed.who, deed.detail) == ("me", {"n": 20, "before": before})
    assert prune(store.access, before, "me") == 0
    assert len(store.audit.list(action="slates.prune").rows) == 1


def test_others_write_between_and_one_that_was_stopped_goes_on(store, monkeypatch):
    filled(store)
    monkeypatch.setattr(pruning, "BATCH", 5)
    # As another process would: a connection and a writer of its own.
    with open_store(store.database, create=False) as other:

        def told(gone: int) -> None:
            made = checked({"user_id": "w", "item_id": "i", "action": "view", "event_id": f"during{gone}"})
            assert isinstance(made, Event)
            assert other.events.append([made])[0].status == "accepted"
            if gone == 10:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            prune(store.access, NOW - 9.5 * DAY, "me", told)
        assert count_before(store.access, NOW - 9.5 * DAY) == 10
        assert prune(store.access, NOW - 9.5 * DAY, "me") == 10
    assert store.events.count() == 32


def test_two_that_prune_at_once_delete_each_slate_once(store, monkeypatch):
    filled(store)
    monkeypatch.setattr(pruning, "BATCH", 2)
    done: list[int] = []
    with open_store(store.database, create=False) as other:
        both = [
            threading.Thread(target=lambda s=s: done.append(prune(s.access, NOW - 9.5 * DAY, "me")))
            for s in (store, other)
        ]
        for one in both:
            one.start()
        for one in both:
            one.join()
    assert sum(done) == 20
    assert len(store.slates.latest(100)) == 10


def test_the_command_says_how_many_and_the_worker_does_it_daily(tmp_path):
    run = a_run(tmp_path)
    with open_store(Slot("stores").build({"type": "sqlite", "path": str(tmp_path / "store.db")})) as store:
        now = store.access.clock()
        store.slates.add([SlateRow(f"s{d}", "u", "m@1", [], now - d * DAY) for d in range(20)])
        which = str(tmp_path / "store.db")

        def said(*given: str, status: int = 0) -> str:
            done = CliRunner().invoke(commands, list(given))
            assert done.exit_code == status, done.output
            return done.output

        prune_all = ("store", "prune", which, "--slates-older-than")
        assert "10 slates are older than 9.5 days" in said(*prune_all, "9.5", "--dry-run")
        assert len(store.slates.latest(100)) == 20
        assert "10 slates older than 9.5 days are deleted" in said(*prune_all, "9.5")
        assert len(store.slates.latest(100)) == 10
        said(*prune_all, "0", status=2)
        worker = ("worker", str(run), "--store", which, "--once")
        assert "--keep-slates" in said(*worker, "--every", "prune=1d", status=1)
        said(*worker, "--keep-slates", "5")
        [job] = store.jobs.list("queued").rows
        assert (job.kind, job.payload) == ("prune", {"days": 5})
        assert 0 < job.after - now <= DAY
        done = do("prune", Work(run, store, job.payload, lambda facts: None))
        assert (done["slates"], len(store.slates.latest(100))) == (5, 5)
