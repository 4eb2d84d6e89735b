"""What goes wrong in real life: killed processes, full and lost disks, locks, damaged files, several writers."""

from __future__ import annotations

import random
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event as engine_events
from sqlalchemy import select, text

from databases import BOTH, fresh, server, settings
from genre.component import Slot
from genre.errors import GenreError
from genre.store import Store, open_store
from genre.store import tables as t
from genre.store.backup import backup, restore
from genre.store.faults import StoreError
from genre.store.records import Event
from genre.store.replay import differences
from storewriter import LEASE

PROGRAM = Path(__file__).with_name("storewriter.py")


def events(*ids: str) -> list[Event]:
    return [Event(one, "ann", "tea", "view") for one in ids]


def address_of(store: Store) -> str:
    """The address with which another process reaches a store."""
    return getattr(store.database, "url", None) or store.address


def started(*arguments: object) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, PROGRAM, *map(str, arguments)])


def lines(path: Path) -> list[str]:
    """The whole lines of a file that another process writes."""
    whole = path.read_text(encoding="utf-8") if path.exists() else ""
    return whole[: whole.rfind("\n") + 1].split("\n")[:-1]


def wait_for(what: Any, seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.01)


@pytest.fixture(params=BOTH)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    with fresh(request.param, tmp_path) as made:
        yield made


@pytest.fixture
def file_store(tmp_path: Path) -> Iterator[Store]:
    """A store in a file, which waits a fifth of a second for a lock."""
    with open_store(Slot("stores").build(settings("sqlite", tmp_path, busy_ms=200))) as made:
        yield made


def sound(store: Store) -> bool:
    with store.access.reading() as connection:
        whole = store.access.engine.dialect.name != "sqlite" or (
            connection.execute(text("PRAGMA integrity_check")).scalar() == "ok"
        )
        return whole and set(differences(connection).values()) == {0}


def killed_while_writing(store: Store, folder: Path, total: int, kills: int, seed: int) -> None:
    """Send events from a process that is killed again and again; each must be there once in the end."""
    chance = random.Random(seed)
    ids = [f"event-{n}" for n in range(total)]
    todo, noted = folder / "ids", folder / "acknowledged"
    for attempt in range(kills + 1):
        done = set(lines(noted))
        todo.write_text("\n".join(one for one in ids if one not in done), encoding="utf-8")
        process = started("events", address_of(store), todo, noted)
        if attempt < kills:
            enough = len(done) + (total - len(done)) * chance.uniform(0.05, 1.5 / (kills - attempt + 1))
            wait_for(
                lambda enough=enough, process=process: len(lines(noted)) > enough or process.poll() is not None, 120
            )
            time.sleep(chance.uniform(0, 0.02))
            process.kill()
            assert process.wait() == -9, "it was done before it could be killed"
            with store.access.reading() as connection:
                kept = set(connection.execute(select(t.events.c.event_id)).scalars())
            assert set(lines(noted)) <= kept, "an acknowledged event is gone"
        else:
            assert process.wait(300) == 0
    with store.access.reading() as connection:
        kept = Counter(connection.execute(select(t.events.c.event_id)).scalars())
    assert set(kept) == set(ids)
    assert set(kept.values()) == {1}
    assert set(lines(noted)) == set(ids)
    assert sound(store)


def test_what_was_acknowledged_survives_kill_9_and_is_there_once(store: Store, tmp_path: Path):
    killed_while_writing(store, tmp_path, total=1500, kills=2, seed=7)


@pytest.mark.slow
def test_a_hundred_thousand_events_survive_ten_kills(store: Store, tmp_path: Path):
    killed_while_writing(store, tmp_path, total=100_000, kills=10, seed=11)


def test_a_batch_that_is_replayed_as_a_whole_changes_nothing(store: Store):
    batch = events(*(f"e{n}" for n in range(500)))
    store.events.append(batch)
    before = store.events.counts(["tea"])
    assert {r.status for r in store.events.append(batch)} == {"duplicate"}
    assert (store.events.count(), store.events.counts(["tea"])) == (500, before)


def test_two_processes_write_at_once_and_both_are_kept(store: Store, tmp_path: Path):
    notes = [tmp_path / f"acknowledged{n}" for n in range(2)]
    shared = [f"both-{n}" for n in range(100)]
    processes = []
    for n, note in enumerate(notes):
        ids = tmp_path / f"ids{n}"
        ids.write_text("\n".join(shared + [f"own-{n}-{i}" for i in range(300)]), encoding="utf-8")
        processes.append(started("events", address_of(store), ids, note))
    seen: list[int] = []
    while any(process.poll() is None for process in processes):
        # A reader that follows the numbers must miss nothing, whoever commits first.
        seen += [e.seq or 0 for e in store.events.since(seen[-1] if seen else 0)]
    assert [process.wait() for process in processes] == [0, 0]
    seen += [e.seq or 0 for e in store.events.since(seen[-1] if seen else 0)]
    assert [len(lines(note)) for note in notes] == [400, 400]
    assert store.events.count() == len(seen) == len(set(seen)) == 700
    assert sound(store)


def test_a_reader_that_follows_the_numbers_misses_none_that_is_committed_late(store: Store):
    inside, go = threading.Event(), threading.Event()

    def slow(connection: Any, batches: list[Any]) -> list[Any]:
        row = {"event_id": "first", "user_id": "ann", "item_id": "tea", "action": "view", "received": 1, "time": 1}
        connection.execute(t.events.insert().values(**row))
        inside.set()
        go.wait(30)
        return batches

    with open_store(store.database, create=False) as second:
        first = store.writer.submit(slow, None)
        assert inside.wait(30)
        later = second.events.submit(events("second"))
        time.sleep(0.3)
        assert not later.done()
        assert second.events.since(0) == []
        go.set()
        first.result(30)
        assert later.result(30)[0].status == "accepted"
        assert [e.event_id for e in second.events.since(0)] == ["first", "second"]


# Leases between real processes


def in_the_middle(line: str) -> bool:
    """Whether a job has just begun, so that its worker is neither between two nor about to end it."""
    what, _, _, when = line.split()
    return what == "begin" and time.time() - float(when) < 0.1


def test_no_job_is_done_by_two_and_a_killed_workers_job_is_done_by_the_other(store: Store, tmp_path: Path):
    for _ in range(8):
        store.jobs.add("work", {}, max_attempts=5)
    note = tmp_path / "notes"
    first = started("jobs", address_of(store), note, 0.25)
    wait_for(lambda: any(line.startswith("begin") for line in lines(note)))
    second = started("jobs", address_of(store), note, 0.25)
    wait_for(lambda: len({line.split()[2] for line in lines(note)}) == 2)
    me = f"worker-{first.pid}"
    wait_for(lambda: in_the_middle([line for line in lines(note) if me in line][-1]))
    first.kill()
    first.wait()
    assert second.wait(60) == 0
    done = store.jobs.list("done").rows
    assert len(done) == 8
    held: dict[str, list[tuple[float, float]]] = {}
    open_at: dict[tuple[str, str], float] = {}
    for line in lines(note):
        what, number, who, when = line.split()
        if what == "begin":
            open_at[number, who] = float(when)
        else:
            held.setdefault(number, []).append((open_at.pop((number, who)), float(when)))
    assert {number: len(times) for number, times in held.items()} == {str(n): 1 for n in range(1, 9)}
    assert len(open_at) == 1, "only the killed worker left a job half done"
    (number, who), when = next(iter(open_at.items()))
    assert who == me
    assert held[number][0][0] >= when + LEASE, "the other waited for the lease to run out"


# Disks, files and locks


@contextmanager
def pages(store: Store, most: int) -> Iterator[None]:
    """A disk that is full once the file has so many pages."""

    def limit(connection: Any, *rest: Any) -> None:
        connection.execute(f"PRAGMA max_page_count={most}").close()

    engine_events.listen(store.access.engine, "connect", limit)
    store.access.engine.dispose()
    try:
        yield
    finally:
        engine_events.remove(store.access.engine, "connect", limit)
        store.access.engine.dispose()


def test_a_full_disk_is_told_to_each_caller_and_mends_itself(file_store: Store):
    store = file_store
    store.events.append(events("before"))
    with store.access.reading() as connection:
        used = int(connection.execute(text("PRAGMA page_count")).scalar_one())
    with pages(store, used + 4):
        futures = [
            store.events.submit([Event(f"{n}-{i}", "u" * 200, "i" * 200, "view") for i in range(50)]) for n in range(20)
        ]
        told = [future.exception(30) for future in futures]
        full = [error for error in told if isinstance(error, StoreError)]
        assert full
        assert {error.cause for error in full} == {"full"}
        assert all("free some space" in str(error) for error in full)
        assert store.events.latest("ann")[0].event_id == "before", "it can be read all the same"
    kept = store.events.count()
    assert kept == 1 + 50 * told.count(None), "what was refused is not there"
    again = store.events.append(events("after"))
    assert again[0].status == "accepted"
    assert sound(store)


def test_a_lock_of_another_process_is_waited_for_and_then_told(file_store: Store):
    store = file_store
    code = (
        "import sqlite3, sys; c = sqlite3.connect(sys.argv[1], isolation_level=None); c.execute('BEGIN IMMEDIATE');"
        "print('held', flush=True); sys.stdin.readline(); c.execute('COMMIT')"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, store.address], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        futures = [store.events.submit(events(f"e{n}")) for n in range(20)]
        began = time.monotonic()
        errors = [future.exception(30) for future in futures]
        assert time.monotonic() - began < 5, "one wait for all of them, not one each"
        assert {error.cause for error in errors if isinstance(error, StoreError)} == {"locked"}
        assert None not in errors
        assert store.events.latest("ann") == [], "readers are not held up"
        waiting = store.events.submit(events("late"))
        process.stdin.write(b"\n")
        process.stdin.flush()
    try:
        status = waiting.result(30)[0].status
    except StoreError:
        status = store.events.append(events("late"))[0].status
    assert status == "accepted"
    assert store.events.count() == 1


def test_a_file_that_is_gone_is_noticed_and_one_that_comes_back_is_used(file_store: Store, tmp_path: Path):
    store, path = file_store, Path(file_store.address)
    store.events.append(events("before"))
    backup(store.access, tmp_path / "b.db")
    aside = tmp_path / "aside"
    aside.mkdir()
    files = [path, *(path.with_name(path.name + rest) for rest in ("-wal", "-shm"))]
    for file in files:
        file.rename(aside / file.name)
    with pytest.raises(StoreError) as caught:
        store.events.append(events("lost"))
    assert caught.value.cause == "gone"
    health = store.health()
    assert not health.ok
    assert "gone" in str(health.problem)
    assert not path.exists(), "no empty store takes its place"
    for file in files:
        (aside / file.name).rename(file)
    assert store.events.append(events("back"))[0].status == "accepted"
    assert store.health().ok
    # Another file: a backup from before.
    store.access.engine.dispose()
    for file in files:
        file.unlink(missing_ok=True)
    shutil.copyfile(tmp_path / "b.db", path)
    assert [e.event_id for e in store.events.latest("ann")] == ["before"]
    assert store.events.append(events("back"))[0].status == "accepted"
    with closing(sqlite3.connect(path)) as other:
        assert other.execute("SELECT count(*) FROM events").fetchone() == (2,)


def test_a_file_that_vanishes_while_it_is_written_is_not_acknowledged(file_store: Store):
    store, path = file_store, Path(file_store.address)

    def vanish(connection: Any, batches: list[Any]) -> list[str]:
        connection.execute(t.audit.insert().values(time=0, who="x", action="x", target="x", detail={}))
        path.unlink()
        return ["kept" for _ in batches]

    with pytest.raises(StoreError) as caught:
        store.writer.submit(vanish, None).result(30)
    assert caught.value.cause in ("gone", "lost")


def test_a_damaged_file_is_told_of_and_replaced_by_force(tmp_path: Path):
    store = fresh("sqlite", tmp_path)
    with store:
        store.events.append(events("kept"))
        backup(store.access, tmp_path / "b.db")
        with pytest.raises(GenreError, match="--force"):
            restore(store.database, tmp_path, tmp_path / "b.db")
        with pytest.raises(StoreError, match="in use"):
            restore(store.database, tmp_path, tmp_path / "b.db", force=True)
        assert store.events.append(events("still works"))[0].status == "accepted"
    path = Path(store.address)
    path.write_bytes(b"not a database" * 1000)
    with pytest.raises(StoreError) as caught:
        open_store(store.database)
    assert caught.value.cause == "damaged"
    with pytest.raises(GenreError, match="--force"):
        restore(store.database, tmp_path, tmp_path / "b.db")
    restore(store.database, tmp_path, tmp_path / "b.db", force=True)
    with open_store(store.database, create=False) as again:
        assert [e.event_id for e in again.events.latest("ann")] == ["kept"]
    kept = [one for one in tmp_path.iterdir() if ".replaced-" in one.name]
    assert [one.read_bytes()[:14] for one in kept] == [b"not a database"]


def test_connections_that_the_server_ends_are_made_anew(tmp_path: Path):
    with fresh("postgres", tmp_path) as store:
        store.events.append(events("before"))
        name = store.access.engine.url.database
        sending, done, causes = threading.Event(), [], set()

        def send() -> None:
            for n in range(200):
                while True:
                    try:
                        done.append(store.events.append(events(f"e{n}"))[0].status)
                        break
                    except StoreError as error:
                        causes.add(error.cause)
                sending.set()

        thread = threading.Thread(target=send)
        thread.start()
        assert sending.wait(30)
        for _ in range(3):
            server().psql(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")
            time.sleep(0.05)
        thread.join(60)
        assert len(done) == 200
        assert causes <= {"lost"}
        assert store.events.count() == 201
        assert sound(store)


def test_a_full_table_of_connections_or_a_long_lock_on_a_server_is_told(tmp_path: Path):
    database = Slot("stores").build(settings("postgres", tmp_path, timeout_ms=300))
    with open_store(database) as store:
        with store.access.engine.connect() as other, other.begin():
            other.execute(text("LOCK TABLE events IN ACCESS EXCLUSIVE MODE"))
            with pytest.raises(StoreError) as caught:
                store.events.append(events("e1"))
            assert caught.value.cause == "locked"
        assert store.events.append(events("e1"))[0].status == "accepted"


def test_two_servers_that_write_the_same_items_never_wait_for_each_other_for_ever(store: Store):
    from genre.store.records import Entry

    with open_store(store.database, create=False) as second:
        entries = [Entry(f"i{n}", {"n": n}) for n in range(60)]

        def put(one: Store, order: int) -> None:
            for _ in range(15):
                one.items.put(entries[::order])
                one.events.append(
                    [Event(f"{order}-{time.monotonic_ns()}", f"u{n}", f"i{n}", "view") for n in range(9)][::order]
                )

        threads = [threading.Thread(target=put, args=pair) for pair in ((store, 1), (second, -1))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert store.items.count() == second.items.count() == 60
        assert sound(store)
