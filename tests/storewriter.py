"""A process that writes to a store until it is killed: what the tests of faults run.

``events STORE IDS ACKNOWLEDGED``: sends the events whose ids stand in a file, eight threads at a time, and notes the id
of each in another file once the store has said that it is kept. ``jobs STORE NOTES SECONDS``: claims jobs, notes when
each began and ended, and holds it so long.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from pathlib import Path

from genre.component import Slot
from genre.store import Store, open_store
from genre.store.faults import LeaseLost
from genre.store.records import Event
from genre.stores import of_address

THREADS = 8
LEASE = 1.0
"""Seconds; as a busy machine may stop a thread for a while, many times the time between two heartbeats."""


def send(store: Store, ids: list[str], note: int, batch: int) -> None:
    """Send events some at a time, and note those that are kept."""
    for start in range(0, len(ids), batch):
        events = [Event(one, f"u{one[-1]}", f"i{len(one)}", "view") for one in ids[start : start + batch]]
        kept = [r.id for r in store.events.append(events) if r.status in ("accepted", "duplicate")]
        os.write(note, "".join(f"{one}\n" for one in kept).encode())


def work(store: Store, note: int, seconds: float) -> None:
    """Do jobs until none is open, also those that another worker left."""
    name = f"worker-{os.getpid()}"
    while any(store.jobs.list(state).rows for state in ("queued", "running")):
        job = store.jobs.claim(name, ["work"], seconds=LEASE)
        if job is None:
            time.sleep(0.05)
            continue
        os.write(note, f"begin {job.number} {name} {time.time()}\n".encode())
        try:
            end = time.time() + seconds
            while time.time() < end:
                time.sleep(0.05)
                store.jobs.heartbeat(job)
            store.jobs.finish(job, {"by": name})
            os.write(note, f"end {job.number} {name} {time.time()}\n".encode())
        except LeaseLost:
            os.write(note, f"lost {job.number} {name} {time.time()}\n".encode())


def main(what: str, address: str, first: str, second: str) -> None:
    store = open_store(Slot("stores").build(of_address(address)), create=False)
    if what == "jobs":
        work(store, os.open(first, os.O_WRONLY | os.O_APPEND | os.O_CREAT), float(second))
    else:
        note = os.open(second, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        ids = Path(first).read_text(encoding="utf-8").split()
        batch = 1 if len(ids) < 5000 else 25
        parts = [ids[n::THREADS] for n in range(THREADS)]
        threads = [threading.Thread(target=send, args=(store, part, note, batch)) for part in parts]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    store.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
