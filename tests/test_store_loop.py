"""The loop: a run's log becomes the store's first content, and what the store takes in becomes the next log."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from click.testing import CliRunner, Result

from databases import BOTH, fresh, settings
from genre.cli import commands
from genre.component import Slot
from genre.config import Config, DataSection
from genre.data import Dataset
from genre.datasets import Reading
from genre.errors import DataError
from genre.prepare import build, prepare
from genre.run import Run
from genre.store import Store, open_store
from genre.store.checking import checked
from genre.store.importing import event_ids, import_data
from genre.store.records import Entry, Event, SlateRow
from toyworld import circle, config, dataset

MAIN = ("user_id", "item_id", "action", "value", "timestamp")


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A prepared run of the circle, of 20 people, 20 items and 240 events."""
    monkeypatch.setenv("GENRE_CACHE", str(tmp_path / "cache"))
    made = Run.create(config({"type": "minilm"}, name="circle"), tmp_path)
    dataset(circle(20)).save(made.path("data"))
    return made


def called(*arguments: object) -> Result:
    return CliRunner().invoke(commands, ["store", *map(str, arguments)])


def sent(store: Store, *rows: tuple[str, str, str], **fields: Any) -> None:
    made = [checked({"user_id": user, "item_id": item, "action": action, **fields}) for user, item, action in rows]
    store.events.append([one for one in made if isinstance(one, Event)])
    assert all(isinstance(one, Event) for one in made)


def rows(table: pa.Table) -> Counter[tuple[Any, ...]]:
    """The rows by their main columns, each with how often it is there."""
    return Counter(zip(*(table[name].to_pylist() for name in MAIN), strict=True))


def read(database: Any, **fields: Any) -> Reading:
    return Slot("datasets").build({"type": "store", "store": database, **fields}).read()


@pytest.mark.parametrize("kind", BOTH)
def test_a_log_comes_back_out_of_the_store_as_it_went_in(kind: str, run: Run, tmp_path: Path):
    data = Dataset.load(run.path("data"))
    extra = data.interactions.append_column("mood", [["good", None, "bad", "good"] * 60])
    blank = pa.array([None] * 5 + data.interactions["timestamp"].to_pylist()[5:], pa.float64())
    extra = extra.set_column(extra.column_names.index("timestamp"), "timestamp", blank)
    extra = extra.set_column(extra.column_names.index("impression_id"), "impression_id", [["shown"] * 240])
    data = Dataset(extra, data.items, data.users, data.rejected, data.manifest)
    with fresh(kind, tmp_path) as store:
        assert import_data(store, data).events == {"accepted": 240}
        assert import_data(store, data).events == {"duplicate": 240}
        database = store.database
        assert [e.item_id for e in store.events.latest("u3", 100)][-3:] == [
            item
            for user, item in zip(extra["user_id"].to_pylist(), extra["item_id"].to_pylist(), strict=True)
            if user == "u3"
        ][-3:]
        again = read(database)
        assert rows(again.interactions) == rows(extra)
        assert Counter(again.interactions["mood"].to_pylist()) == {"good": 120, "bad": 60, None: 60}
        assert set(again.interactions["impression_id"].to_pylist()) == {"shown"}
        assert again.items is not None
        assert sorted(again.items["title"].to_pylist()) == sorted(data.items["title"].to_pylist())
        assert again.users is not None
        assert sorted(again.users.to_pylist(), key=str) == sorted(data.users.to_pylist(), key=str)
    made = build(again, DataSection(reader={"type": "table"}), 7)
    assert made.manifest["counts"]["interactions"] == 240
    assert made.manifest["rejected"] == {}


def test_equal_rows_are_imported_each_and_always_under_the_same_id():
    same = pa.table({"user_id": ["a", "a", "b"], "item_id": ["x", "x", "x"], "action": ["view"] * 3})
    ids = event_ids(same)
    assert len(set(ids)) == 3
    assert event_ids(same) == ids
    assert event_ids(same.slice(1)) == [ids[0], ids[2]]


def test_an_import_that_was_stopped_goes_on(run: Run, tmp_path: Path):
    data = Dataset.load(run.path("data"))
    half = Dataset(data.interactions.slice(0, 100), data.items, data.users.slice(0, 3), data.rejected, data.manifest)
    with fresh("sqlite", tmp_path) as store:
        store.items.put([Entry("i3", {"title": "told by the shop"})])
        assert (import_data(store, half).items, store.users.count()) == (19, 3)
        done = import_data(store, data)
        assert (done.events, done.items, done.users) == ({"accepted": 140, "duplicate": 100}, 0, 17)
        assert store.items.get(["i3"])["i3"].columns == {"title": "told by the shop"}


def test_rows_that_events_cannot_be_made_from_are_told_of(tmp_path: Path):
    data = dataset(circle(20))
    odd = data.interactions.set_column(0, "user_id", [["x" * 300, *data.interactions["user_id"].to_pylist()[1:]]])
    with fresh("sqlite", tmp_path) as store:
        done = import_data(store, Dataset(odd, data.items, data.users, data.rejected, {}))
        assert done.rejected == {"user_id has 300 characters, more than 256": 1}
        assert done.events["accepted"] == 239


def test_the_next_log_is_the_runs_and_what_came_since(run: Run):
    database = {"type": "sqlite", "path": "store.db"}
    data = Dataset.load(run.path("data"))
    with open_store(Slot("stores").build(database), run.folder) as store:
        sent(store, ("u1", "i5", "rate"), ("new person", "i5", "rate"), value=5, timestamp=2_000_000)
        sent(store, ("u1", "new item", "rate"), timestamp=2_000_001, context={"item_id": "a trap", "page": "home"})
        store.items.put([Entry("i2", {"title": "renamed", "price": 3.5}), Entry("i99", {"title": "brand new"})])
        before = read(database, run=str(run.folder))
        assert import_data(store, data).events == {"accepted": 240}
        after = read(database, run=str(run.folder))
    for reading in (before, after):
        assert reading.interactions.num_rows == 243, "a row that the store holds too is there once"
        assert set(reading.interactions["context_item_id"].to_pylist()) == {None, "a trap"}
        assert reading.items is not None
        items = {row["item_id"]: row for row in reading.items.to_pylist()}
        assert (items["i2"]["title"], items["i2"]["price"], items["i99"]["title"]) == ("renamed", 3.5, "brand new")
        assert items["new item"]["title"] is None
        made = build(reading, DataSection(reader={"type": "table"}), 7)
        assert made.manifest["counts"]["interactions"] == 243
        assert made.manifest["rejected"] == {}
    assert rows(before.interactions) == rows(after.interactions)


def test_who_was_erased_is_in_no_next_log(run: Run):
    database = {"type": "sqlite", "path": "store.db"}
    data = Dataset.load(run.path("data"))
    with open_store(Slot("stores").build(database), run.folder) as store:
        import_data(store, data)
        store.erase("u3", "mo")
        reading = read(database, run=str(run.folder))
        again = import_data(store, data)
    assert again.rejected == {"its user was erased": 12}
    assert "u3" not in reading.interactions["user_id"].to_pylist()
    assert reading.users is not None
    assert "u3" not in reading.users["user_id"].to_pylist()
    assert Counter(row["reason"] for row in reading.rejected) == {"its user was erased": 24}
    assert "u3" not in str(reading.rejected)


@pytest.mark.parametrize("kind", BOTH)
def test_what_a_slate_showed_teaches_with_its_propensity(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("GENRE_CACHE", str(tmp_path / "cache"))
    with fresh(kind, tmp_path) as store:
        shown = [{"item_id": f"i{n}", "propensity": 0.1 * (n + 1)} for n in range(3)]
        store.slates.add([SlateRow(f"s{n}", f"u{n}", "m", shown, 5_000.0) for n in range(2)])
        sent(store, ("u0", "i1", "click"), slate_id="s0", position=1, timestamp=5_001)
        sent(store, ("u1", "i2", "view"))
        plain = read(store.database).interactions.to_pylist()
        full = read(store.database, skips=True).interactions.to_pylist()
    assert [row["propensity"] for row in plain] == [0.2, None]
    assert full[:2] == plain
    skipped = [
        (r["user_id"], r["item_id"], r["action"], r["impression_id"], r["position"], r["propensity"]) for r in full[2:]
    ]
    assert skipped == [("u0", "i0", "skip", "s0", 0, 0.1), ("u0", "i2", "skip", "s0", 2, pytest.approx(0.3))]


@pytest.mark.parametrize("kind", BOTH)
def test_prepare_reads_the_store_again_when_it_has_moved(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("GENRE_CACHE", str(tmp_path / "cache"))
    database = settings(kind, tmp_path)
    with open_store(Slot("stores").build(database)) as store:
        import_data(store, dataset(circle(20)))
        made = config({"type": "minilm"}, name="next")
        section = DataSection(reader={"type": "store", "store": database})
        run = Run.create(Config(data=section, model=made.model, train=made.train, name="next"), tmp_path)
        sizes = []
        for change in (
            lambda: None,
            lambda: None,
            lambda: sent(store, ("u1", "i2", "rate")),
            lambda: store.events.withdraw("u1", "i2"),
            lambda: store.items.put([Entry("i2", {"title": "renamed"})]),
        ):
            change()
            before = run.manifest["stages"].get("data", {}).get("inputs")
            sizes.append(
                (prepare(run.config, run).interactions.num_rows, run.manifest["stages"]["data"]["inputs"] != before)
            )
    assert [moved for _, moved in sizes] == [True, False, True, True, True]
    assert [n for n, _ in sizes[:3]] == [240, 240, 241]
    assert "renamed" in Dataset.load(run.path("data")).items["title"].to_pylist()


def test_the_reader_says_where_no_store_is_and_of_which_run_no_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("GENRE_CACHE", str(tmp_path / "cache"))
    with pytest.raises(DataError, match="no store here"):
        read({"type": "sqlite", "path": str(tmp_path / "none.db")})
    with fresh("sqlite", tmp_path) as store, pytest.raises(DataError, match=r"interactions\.parquet"):
        read(store.database, run=str(tmp_path))


# Commands


def test_the_commands_lead_from_a_run_to_a_store_and_back(run: Run, tmp_path: Path):
    folder, backup = run.folder, tmp_path / "backups" / "monday.db"
    assert "no store here" in called("show", folder).output
    assert "240 events, 20 items, 20 users are new" in called("import", folder).output
    assert "240 events were there already" in called("import", folder).output
    assert (folder / "store.db").exists()
    shown = called("show", folder).output
    assert "240 events" in shown
    assert "20 items" in shown
    assert called("init", folder).exit_code == 0
    assert "written and checked" in called("backup", folder, backup).output
    assert "sound" in called("verify", backup).output
    refused = called("restore", folder, backup)
    assert refused.exit_code == 1
    assert "--force" in refused.output
    assert "restored" in called("restore", folder, backup, "--force").output
    assert "restored" in called("restore", tmp_path / "other.db", backup).output
    assert "240 events" in called("show", tmp_path / "other.db").output
    assert called("replay", folder).output.count("all rows were right") == 2
    assert "is of version 1 already" in called("migrate", folder).output
    assert "no run folder" in called("show", tmp_path).output or "not a run folder" in called("show", tmp_path).output


def test_a_key_is_printed_once_and_lets_in_until_it_is_revoked(run: Run):
    made = called("key", "add", run.folder, "shop", "--scope", "write", "--per-second", "5", "--days", "2")
    token = made.stdout.strip()
    assert len(token.split()) == 1, "the token alone, so that it can be piped"
    with open_store(Slot("stores").build("sqlite"), run.folder) as store:
        key = store.keys.check(token)
        assert key is not None
        assert (key.scope, key.limits) == ("write", {"per_second": 5.0})
        assert key.expires == pytest.approx(key.created + 2 * 86400, abs=5)
        listed = called("key", "list", run.folder).output
        assert key.key_id in listed
        assert "valid" in listed
        assert token.split("_", 2)[2] not in listed
        assert called("key", "revoke", run.folder, key.key_id).exit_code == 0
        assert store.keys.check(token) is None
        assert [deed.action for deed in store.audit.list().rows] == ["key.revoke", "key.add"]
    assert "revoked" in called("key", "list", run.folder).output
    nobody = called("key", "revoke", run.folder, "nobody")
    assert (nobody.exit_code, "there is no key 'nobody'" in nobody.output) == (1, True)


def test_the_store_moves_from_a_file_to_a_server_by_a_backup(run: Run, tmp_path: Path):
    called("import", run.folder)
    server = settings("postgres", tmp_path)["url"]
    called("backup", run.folder, tmp_path / "b.db")
    assert "restored" in called("restore", server, tmp_path / "b.db").output
    assert "240 events" in called("show", server).output
    assert "240 events were there already" in called("import", run.folder, "--store", server).output
    assert "written and checked" in called("backup", server, tmp_path / "c.db").output
