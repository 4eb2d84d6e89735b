"""What takes long: ten kills among a hundred thousand events over HTTP, and half an hour of mixed load."""

from __future__ import annotations

import os
import random
import signal
import statistics
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from sqlalchemy import select

import genre.store.tables as t
from genre.store import open_store
from genre.stores.sqlite import Sqlite
from served import Running, a_run, running

MINUTES = float(os.environ.get("GENRE_LOAD_MINUTES", "30"))
BATCH = 20
UNBOUNDED = ("rate=1000000", "burst=1000000", "console=false")


def send(made: Running, numbers: list[int], acknowledged: list[int]) -> None:
    """Send events some at a time until the service is gone, and note those that it has acknowledged."""
    with made.client() as client:
        for start in range(0, len(numbers), BATCH):
            some = numbers[start : start + BATCH]
            events = [
                {"event_id": f"e{n}", "user_id": f"u{n % 500}", "item_id": f"i{n % 20}", "action": "view"} for n in some
            ]
            try:
                reply = client.post("/v1/events", json={"events": events})
            except httpx.TransportError:
                return
            if reply.status_code == 200:
                assert reply.json()["accepted"] + reply.json()["duplicates"] == len(some)
                acknowledged += some


def killed(folder: Path, total: int, kills: int) -> None:
    """Kill the service ``kills`` times while it takes events; each that it acknowledged must be there once."""
    chance, acknowledged = random.Random(13), list[int]()
    for attempt in range(kills + 1):
        done = set(acknowledged)
        todo = [n for n in range(total) if n not in done]
        with running(folder, *UNBOUNDED) as made:
            threads = [threading.Thread(target=send, args=(made, todo[n::8], acknowledged)) for n in range(8)]
            for one in threads:
                one.start()
            if attempt < kills:
                enough = len(done) + len(todo) * chance.uniform(0.2, 1.2) / (kills - attempt + 1)
                while len(acknowledged) < enough:
                    time.sleep(0.001)
                made.process.send_signal(signal.SIGKILL)
            for one in threads:
                one.join()
    with open_store(Sqlite(), folder, create=False) as store, store.access.reading() as connection:
        kept = Counter(connection.execute(select(t.events.c.event_id)).scalars())
    assert set(kept) == {f"e{n}" for n in range(total)}
    assert set(kept.values()) == {1}
    assert set(acknowledged) == set(range(total))


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_ten_kills_among_a_hundred_thousand_events(tmp_path):
    killed(a_run(tmp_path), total=100_000, kills=10)


def resident(made: Running) -> float:
    """Memory of the service, in MiB."""
    lines = Path(f"/proc/{made.process.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024


def ask(made: Running, seed: int, until: float, statuses: Counter[int]) -> None:
    """A mixture of requests, each a moment after the other."""
    chance = random.Random(seed)

    def event() -> dict[str, object]:
        user, item = f"u{chance.randrange(200)}", f"i{chance.randrange(20)}"
        return {"user_id": user, "item_id": item, "action": "rate", "slate_id": slate}

    slate: str | None = None
    kinds: list[Callable[[], httpx.Response]] = [
        lambda: client.post("/v1/recommend", json={"user_id": f"u{chance.randrange(200)}", "k": 10}),
        lambda: client.post("/v1/recommend", json={"history": [f"i{chance.randrange(20)}"], "explain": True, "k": 3}),
        lambda: client.post("/v1/events", json={"events": [event() for _ in range(3)]}),
        lambda: client.get(f"/v1/items/i{chance.randrange(20)}/similar"),
        lambda: client.post("/v1/items", json={"rows": [{"item_id": f"i{chance.randrange(20)}", "title": "a thing"}]}),
        lambda: client.post("/v1/embed", json={"texts": ["a red cup"]}),
    ]
    with made.client() as client:
        while time.monotonic() < until:
            reply = chance.choices(kinds, [10, 1, 6, 2, 0.05, 0.5])[0]()
            statuses[reply.status_code] += 1
            if "slate_id" in reply.text:
                slate = reply.json().get("slate_id")
            time.sleep(chance.expovariate(10))


@pytest.mark.slow
@pytest.mark.timeout(60 * MINUTES + 300)
def test_half_an_hour_of_mixed_load_leaves_memory_flat_and_nothing_fails(tmp_path):
    settings = (*UNBOUNDED, "history=50", "cached_users=500", "explore={share: 0.5, learn: true, window_seconds: 5}")
    statuses, seconds, sizes = Counter[int](), 60 * MINUTES, list[float]()
    with running(a_run(tmp_path), *settings) as made:
        until = time.monotonic() + seconds
        threads = [threading.Thread(target=ask, args=(made, n, until, statuses)) for n in range(4)]
        for one in threads:
            one.start()
        while time.monotonic() < until:
            time.sleep(seconds / 120)
            sizes.append(resident(made))
        for one in threads:
            one.join()
        with made.client() as client:
            assert "genre_slates_lost_total 0.0" in client.get("/v1/metrics").text
    # The first third warms up: caches, and the pools of the allocator.
    early, late = statistics.median(sizes[40:60]), statistics.median(sizes[-20:])
    print(f"{sum(statuses.values())} requests; {early:.0f} MiB after a third, {late:.0f} MiB at the end")
    assert set(statuses) == {200}, statuses
    assert abs(late / early - 1) < 0.05, f"{early:.0f} MiB after a third, {late:.0f} MiB at the end"
