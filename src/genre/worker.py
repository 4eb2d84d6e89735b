"""The worker: takes jobs from the store, has each done by a process of its own, and keeps the lease while it lasts."""

from __future__ import annotations

import json
import math
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from genre.component import describe
from genre.errors import GenreError
from genre.jobs import kinds
from genre.store import Store
from genre.store.faults import LeaseLost
from genre.store.records import Job

FIRST_RETRY, LONGEST_RETRY = 30.0, 3600.0
"""Seconds until a job that failed is tried again: twice as long each time, up to the longest."""
LOOK = 0.1
"""Seconds between two looks at a job that is being done."""
NEWS = 5.0
"""Most seconds between two words to the store, which say how far the job is and hear whether it was cancelled."""
PLAN = 30.0
"""Seconds between two looks at what is to be done regularly."""
Say = Callable[[str], Any]


@dataclass
class Worker:
    """Does jobs until it is told to stop; any number of them may share a store."""

    folder: Path
    """The run, or the link to it."""
    store: Store
    kinds: Sequence[str] = field(default_factory=kinds)
    server: str | None = None
    every: dict[str, float] = field(default_factory=dict)
    """Seconds between two jobs of a kind, of those that are done regularly."""
    payloads: dict[str, dict[str, Any]] = field(default_factory=dict)
    """What these are given."""
    lease: float = 60.0
    """Seconds after which another may take a job whose worker says nothing."""
    grace: float = 30.0
    """Seconds that a job has to finish once the worker is told to stop; then it is handed back."""
    poll: float = 1.0
    say: Say = print
    name: str = field(default_factory=lambda: f"{socket.gethostname()}:{os.getpid()}")
    _stop: threading.Event = field(default_factory=threading.Event)
    _planned: float = -math.inf

    def stop(self) -> None:
        """Take no more jobs; that under way has ``grace`` seconds."""
        self._stop.set()

    def listen(self) -> None:
        """Stop when the process is told to end."""
        for one in (signal.SIGTERM, signal.SIGINT):
            signal.signal(one, lambda *_: self.stop())

    def run(self, once: bool = False) -> int:
        """Do jobs; with ``once`` those that wait now, else until told to stop. Returns how many."""
        done, pause = 0, self.poll
        while not self._stop.is_set():
            try:
                self._plan()
                job = self.store.jobs.claim(self.name, list(self.kinds), self.lease)
                pause = self.poll
            except GenreError as error:
                self.say(f"store: {error}")
                job, pause = None, min(2 * pause, 30.0)
                if once:
                    raise
            if job is not None:
                self.do(job)
                done += 1
            elif once:
                break
            else:
                self._stop.wait(pause)
        return done

    def do(self, job: Job) -> None:
        """Have one job done, and report on it."""
        started = time.monotonic()
        self.say(f"job {job.number} {job.kind}: attempt {job.attempts} of {job.max_attempts}")
        try:
            said = self._watched(job)
            if said is None:
                self.store.jobs.release(job)
                self.say(f"job {job.number}: handed back")
            else:
                self._report(job, said, time.monotonic() - started)
        except LeaseLost as error:
            self.say(str(error))
        except GenreError as error:
            # Whoever takes it when the lease is over finds what was done.
            self.say(f"job {job.number}: not reported: {error}")

    def _watched(self, job: Job) -> dict[str, Any] | None:
        """What the process of the job said last; None where it was stopped to be handed back. Raises `LeaseLost`."""
        with JobProcess(self, job) as process:
            renewed = time.monotonic()
            tried, limit, lease = renewed, math.inf, job.lease_seconds or self.lease
            while (code := process.ended()) is None:
                now = time.monotonic()
                if self._stop.is_set() and limit == math.inf:
                    limit = now + self.grace
                if now > limit:
                    return None
                if now - tried > min(lease / 3, NEWS):
                    tried = now
                    try:
                        self.store.jobs.heartbeat(job, process.progress)
                        renewed = now
                    except LeaseLost:
                        raise
                    except GenreError as error:
                        self.say(f"store: {error}")
                if now - renewed > lease:
                    raise LeaseLost(f"job {job.number}: the store did not answer until its lease was over")
                time.sleep(LOOK)
            return process.said(code)

    def _report(self, job: Job, said: dict[str, Any], seconds: float) -> None:
        if "result" in said:
            self.store.jobs.finish(job, said["result"])
            self.say(f"job {job.number}: done in {seconds:.1f} s {said['result']}")
            return
        if "unfit" in said:
            self.store.jobs.fail(job, said["unfit"])
            self.say(f"job {job.number}: cannot be done: {said['unfit']}")
            return
        wait = min(FIRST_RETRY * 2 ** (job.attempts - 1), LONGEST_RETRY) * (0.75 + random.random() / 2)
        after = self.store.jobs.fail(job, said["error"], wait)
        how = f"again in {wait:.0f} s" if after.state == "queued" else "given up"
        self.say(f"job {job.number}: {said['error']}; {how}")

    def _plan(self) -> None:
        """Queue what is to be done regularly, at multiples of its time, so that many workers plan it once."""
        if time.monotonic() - self._planned < PLAN:
            return
        now = time.time()
        for kind, seconds in self.every.items():
            due = (math.floor(now / seconds) + 1) * seconds
            self.store.jobs.add(kind, self.payloads.get(kind, {}), key=f"every:{kind}", after=due)
        self._planned = time.monotonic()


class JobProcess:
    """One job's process, and the channel on which it says how far it is."""

    def __init__(self, worker: Worker, job: Job) -> None:
        store = worker.store
        asked = {"kind": job.kind, "payload": job.payload, "folder": str(worker.folder), "server": worker.server}
        asked |= {"store": described(store), "home": str(store.home)}
        reading, writing = os.pipe()
        command = [sys.executable, "-m", "genre.jobprocess", str(writing)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, pass_fds=[writing], start_new_session=True)
        os.close(writing)
        self.progress: dict[str, Any] = {}
        self._last: dict[str, Any] = {}
        self._thread = threading.Thread(target=self._listen, args=(reading,), daemon=True)
        self._thread.start()
        assert self._process.stdin is not None
        try:
            self._process.stdin.write((json.dumps(asked) + "\n").encode())
            self._process.stdin.flush()
        except BrokenPipeError:
            # It ended before it heard anything; its exit code says so.
            self.progress = {}

    def __enter__(self) -> JobProcess:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._thread.join(5)

    def ended(self) -> int | None:
        """How it ended; None while it works."""
        return self._process.poll()

    def said(self, code: int) -> dict[str, Any]:
        """Its last word, or what is known of one that ended without any."""
        self._thread.join(5)
        if self._last:
            return self._last
        how = f"signal {-code}, as when memory ran out" if code < 0 else f"exit status {code}"
        return {"error": f"its process ended by {how}"}

    def _listen(self, reading: int) -> None:
        with os.fdopen(reading, encoding="utf-8") as channel:
            for line in channel:
                said = json.loads(line)
                if "progress" in said:
                    self.progress = said["progress"]
                else:
                    self._last = said


def described(store: Store) -> dict[str, Any]:
    """The settings of a store's database, to be opened by another process."""
    return json.loads(json.dumps(describe(store.database), default=str))
