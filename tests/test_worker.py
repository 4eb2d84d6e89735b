"""The worker: jobs are done once, whoever is killed; what fails waits, then is left with its reason."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import psutil
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from genre.cli import commands
from genre.component import Slot
from genre.errors import GenreError
from genre.files import unseal
from genre.jobs import Unfit, Work, do, kinds, settings_of
from genre.pipeline import Pipeline
from genre.run import Run
from genre.store import Store, open_store
from genre.store.backup import verify
from genre.store.records import Entry, Event, Job
from genre.types import Query
from genre.worker import Worker
from test_refresh import last, walks


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A folder of runs with a copy of the toy run."""
    shutil.copytree(last().folder, tmp_path / "walk", ignore=shutil.ignore_patterns("checkpoint", "tensorboard"))
    return tmp_path


@pytest.fixture
def store(home: Path) -> Iterator[Store]:
    database = Slot("stores").build({"type": "sqlite", "path": str(home / "store.db")})
    with open_store(database, home) as made:
        yield made


def events() -> list[Event]:
    return [Event(f"e{n}", u, i, a, v, float(t)) for n, (u, i, a, v, t) in enumerate(walks())]


def begun(home: Path, *options: str) -> subprocess.Popen[bytes]:
    """A worker as a process of its own."""
    command = [sys.executable, "-m", "genre.cli", "worker", str(home / "walk"), "--store", str(home / "store.db")]
    # The module has no entry of its own, as the command line is installed as a program.
    command[1:3] = ["-c", "from genre.cli import main; main()"]
    return subprocess.Popen([*command, *options], stdout=subprocess.DEVNULL, env=os.environ | {"PYTHONWARNINGS": ""})


def until(true: Callable[[], Any], seconds: float = 90.0) -> Any:
    """Wait until something holds, and give it back."""
    limit = time.monotonic() + seconds
    while not (found := true()):
        assert time.monotonic() < limit, "it did not come about in time"
        time.sleep(0.05)
    return found


def worker(home: Path, store: Store, **given: Any) -> Worker:
    return Worker(home / "walk", store, say=lambda line: None, **given)


def done_once(home: Path, store: Store, job: Job, **given: Any) -> Job:
    assert worker(home, store, **given).run(once=True) == 1
    return store.jobs.get(job.number)


def test_a_refresh_is_handed_back_killed_and_finished_by_others(home: Path, store: Store):
    store.items.put([Entry("i20", {"title": "redcup word20"}), Entry("i21", {"title": "redhat word21"})])
    store.events.append(events())
    job = store.jobs.add("refresh", {"publish": True}, key="refresh")

    def told(word: str) -> bool:
        return word in str(store.jobs.get(job.number).progress)

    first = begun(home, "--lease", "1.5", "--grace", "0")
    until(lambda: store.jobs.get(job.number).state == "running")
    first.send_signal(signal.SIGTERM)
    assert first.wait(30) == 0
    back = store.jobs.get(job.number)
    assert (back.state, back.attempts, back.lease) == ("queued", 0, None)

    second = begun(home, "--lease", "1.5")
    until(lambda: told("train"))
    children = psutil.Process(second.pid).children(recursive=True)
    second.kill()
    second.wait()
    _, alive = psutil.wait_procs(children, timeout=20)
    assert not alive, "the job went on without its worker"
    trained = (home / "walk-2" / "model" / "finetuned" / "manifest.json").read_bytes()
    assert not (home / "live").exists()

    time.sleep(1.6)
    third = worker(home, store, lease=20.0, kinds=["refresh"])
    assert third.run(once=True) == 1
    finished = store.jobs.get(job.number)
    assert (finished.state, finished.attempts, finished.worker) == ("done", 2, third.name)
    assert finished.result is not None
    assert (finished.result["run"], finished.result["open"]) == ("walk-2", True)
    assert (home / "walk-2" / "model" / "finetuned" / "manifest.json").read_bytes() == trained
    assert sorted(path.name for path in home.glob("walk*")) == ["walk", "walk-2"]
    waiting = store.jobs.list("queued").rows
    assert [(one.kind, one.payload) for one in waiting] == [("publish", {"run": "walk-2"})]
    do("publish", Work(home / "walk", store, waiting[0].payload, lambda facts: None))
    assert (home / "live" / "walk").resolve() == home / "walk-2"
    assert [deed.target for deed in store.audit.list(action="model.publish").rows] == ["walk-2"]


def test_two_workers_never_do_one_job_twice(home: Path, store: Store):
    jobs = [store.jobs.add("backup", {"folder": str(home / f"copy{n}")}) for n in range(4)]
    both = [begun(home, "--once", "--only", "backup") for _ in range(2)]
    assert [one.wait(90) for one in both] == [0, 0]
    done = [store.jobs.get(job.number) for job in jobs]
    assert {(job.state, job.attempts) for job in done} == {("done", 1)}
    assert [len(list((home / f"copy{n}").iterdir())) for n in range(4)] == [1] * 4


def test_a_job_that_fails_is_tried_again_later_and_then_left_with_its_reason(home: Path, store: Store):
    (home / "file").write_text("in the way", encoding="utf-8")
    job = store.jobs.add("backup", {"folder": str(home / "file")}, max_attempts=2)
    before = time.time()
    after = done_once(home, store, job)
    assert after.state == "queued"
    assert "FileExistsError" in str(after.error)
    assert 20 < after.after - before < 60
    assert worker(home, store).run(once=True) == 0
    parked = _again(home, store, job)
    assert (parked.state, parked.attempts) == ("failed", 2)
    assert "FileExistsError" in str(parked.error)


def _again(home: Path, store: Store, job: Job) -> Job:
    """The next attempt, as if its time had come."""
    real = store.access.clock
    object.__setattr__(store.access, "clock", lambda: real() + 3600)
    try:
        return done_once(home, store, job)
    finally:
        object.__setattr__(store.access, "clock", real)


@pytest.mark.parametrize(
    ("kind", "payload", "why"),
    [
        ("gate", {}, "did not come from another run"),
        ("evaluate", {"run": "../walk"}, "never a path"),
        ("evaluate", {"run": "stroll"}, "there is no run 'stroll'"),
        ("backup", {"keep": "many"}, "no whole number above 0"),
        ("backup", {"keep": 0}, "no whole number above 0"),
        ("backup", {"kept": 3}, "kept is no setting of 'backup'.*keep"),
        ("drift", {"days": -1}, "above 0"),
        ("drift", {"clicks": [1]}, "list of names"),
    ],
)
def test_a_job_that_can_never_be_done_is_not_tried_again(
    home: Path, store: Store, kind: str, payload: dict[str, Any], why: str
):
    with pytest.raises(Unfit, match=why):
        do(kind, Work(home / "walk", store, payload, lambda facts: None))


def test_what_cannot_be_done_is_left_at_once(home: Path, store: Store):
    job = store.jobs.add("gate", {})
    after = done_once(home, store, job)
    assert (after.state, after.attempts) == ("failed", 1)
    assert "did not come from another run" in str(after.error)


def test_a_cancelled_job_is_stopped(home: Path, store: Store):
    job = store.jobs.add("publish", {})
    claimed = store.jobs.claim("me", ["publish"], 0.3)
    assert claimed is not None
    store.jobs.cancel(job.number)
    said: list[str] = []
    Worker(home / "walk", store, say=said.append).do(claimed)
    assert store.jobs.get(job.number).state == "cancelled"
    assert "no longer this worker's" in said[-1]
    assert not (home / "live").exists()


def test_regular_jobs_are_planned_once_for_all_workers(home: Path, store: Store):
    for _ in range(2):
        worker(home, store, every={"backup": 3600.0}).run(once=True)
    waiting = store.jobs.list("queued").rows
    assert [job.kind for job in waiting] == ["backup"]
    assert 0 < waiting[0].after - time.time() <= 3600
    assert waiting[0].after % 3600 == 0


def test_backups_are_sound_and_the_oldest_go(home: Path, store: Store):
    store.events.append(events()[:5])
    for day in range(3):
        (home / "backups").mkdir(exist_ok=True)
        (home / "backups" / f"store-2020010{day + 1}T000000Z.db").touch()
    (home / "backups" / "mine.db").touch()
    found = do("backup", Work(home / "walk", store, {"keep": 2}, lambda facts: None))
    assert verify(Path(found["file"])).rows["events"] == 5
    left = sorted(path.name for path in (home / "backups").iterdir())
    assert left == ["mine.db", "store-20200103T000000Z.db", Path(found["file"]).name]


def test_new_items_of_the_store_join_the_catalogue(home: Path, store: Store):
    store.items.put([Entry("i20", {"title": "redcup word20"}), Entry("i3", {"title": "told anew"}), Entry("bare", {})])
    work = Work(home / "walk", store, {}, lambda facts: None)
    found = do("embed", work)
    assert (found["added"], found["without_text"]) == (1, 1)
    assert do("embed", work)["added"] == 0
    slate = Pipeline.load(home / "walk").recommend([Query(history=("i5",), k=21)])[0]
    assert "i20" in [one.item_id for one in slate.items]


def test_lists_are_made_ahead_for_those_who_are_active(home: Path, store: Store):
    store.events.append(
        [Event(f"x{n}", "new", f"i{n}", "rate", 1.0 if n % 2 else 5.0) for n in range(10)]
        + [Event("y", "other", "i9", "rate", 5.0)]
    )
    do("rerank", Work(home / "walk", store, {"k": 5}, lambda facts: None))
    unseal(home / "walk" / "nearline", 1, "genre worker")
    rows = {row["user_id"]: row for row in pq.read_table(home / "walk" / "nearline" / "lists.parquet").to_pylist()}
    assert set(rows) == {"new", "other"}
    assert rows["new"]["items"][0] == "i10"
    assert not {f"i{n}" for n in range(10)} & set(rows["new"]["items"])
    assert (len(rows["new"]["items"]), rows["new"]["last_seq"]) == (5, 10)


def test_alarms_of_drift_go_to_the_audit_once(home: Path, store: Store):
    store.events.append(events())
    work = Work(home / "walk", store, {"days": 1000}, lambda facts: None)
    first = do("drift", work)
    assert first["alarms"] == first["told"] > 0
    assert do("drift", work)["told"] == 0
    deeds = store.audit.list(action="drift.alarm").rows
    assert len(deeds) == first["told"]
    assert any("never seen before" in deed.detail["why"] for deed in deeds)
    assert (home / "walk" / "drift" / "drift.svg").read_text(encoding="utf-8").startswith("<svg")


def test_the_command_queues_and_says_what_is_wrong(home: Path, store: Store):
    given = ["worker", str(home / "walk"), "--store", str(home / "store.db")]
    said = CliRunner().invoke(commands, [*given, "--add", "drift", "--payload", '{"days": 3}'])
    assert said.exit_code == 0, said.output
    job = store.jobs.list().rows[0]
    assert (job.kind, job.payload) == ("drift", {"days": 3})
    for wrong, why in (
        (["--every", "refresh=soon"], "KIND=TIME"),
        (["--add", "refrsh"], "refresh"),
        (["--add", "drift", "--payload", "[]"], "object"),
        (["--add", "drift", "--payload", '{"dyas": 3}'], "dyas is no setting of 'drift'"),
    ):
        said = CliRunner().invoke(commands, [*given, *wrong])
        assert said.exit_code == 1
        assert why in said.output


def test_every_kind_says_what_it_does():
    assert kinds() == ["backup", "drift", "embed", "evaluate", "gate", "prune", "publish", "refresh", "rerank"]
    assert all(__import__(f"genre.jobs.{kind}", fromlist=["do"]).do.__doc__ for kind in kinds())
    assert all(one.what.endswith(".") for kind in kinds() for one in settings_of(kind).values())


def test_the_commands_of_the_handbook_exist():
    root = Path(__file__).parent.parent
    text = (root / "docs" / "operate.md").read_text(encoding="utf-8").replace("\\\n", " ")
    units = "".join(path.read_text(encoding="utf-8") for path in (root / "deploy").glob("*.service"))
    found = re.findall(r"(?:^|`|bin/)genre ((?:[^`\n#]|(?<=\\)\n)+)", text + units.replace("\\\n", " "), re.MULTILINE)
    assert len(found) > 25
    for line in found:
        command: click.Command = commands
        words = [word for word in line.split() if word not in ("\\",)]
        while isinstance(command, click.Group) and words and not words[0].startswith("-"):
            command = command.commands[words.pop(0)]
        options = {option for one in command.params for option in one.opts}
        assert {word for word in words if word.startswith("--")} <= options, line


def test_a_worker_without_its_store_goes_on_when_it_is_back(home: Path, store: Store):
    said: list[str] = []
    made = Worker(home / "walk", store, say=said.append, poll=0.01)
    away = home / "elsewhere.db"
    (home / "store.db").rename(away)

    def back(line: str) -> None:
        said.append(line)
        if len(said) == 2:
            away.rename(home / "store.db")
            store_job.append(1)
        if "done" in line:
            made.stop()

    store_job: list[int] = []
    made.say = back
    with pytest.raises(GenreError):
        store.jobs.add("backup", {})

    def add() -> None:
        until(lambda: store_job)
        store.jobs.add("backup", {"folder": str(home / "copies")})

    threading.Thread(target=add, daemon=True).start()
    assert made.run() == 1
    assert len(list((home / "copies").iterdir())) == 1
    assert "gone" in said[0]


def test_the_run_is_opened_through_the_link(home: Path, store: Store):
    (home / "live").mkdir()
    (home / "live" / "walk").symlink_to("../walk")
    assert Work(home / "live" / "walk", store, {}, lambda facts: None).run() == home / "walk"
    assert Run.open(home / "live" / "walk").config.name == "walk"
