"""How fast the store takes events in."""

from __future__ import annotations

import threading
import time
import uuid
from typing import TYPE_CHECKING

from genre.store.checking import checked
from genre.store.records import Event

if TYPE_CHECKING:
    from genre.store import Store


def durable_events(store: Store, threads: int = 32, seconds: float = 5.0) -> dict[str, float]:
    """Events a second when each of ``threads`` sends one, waits until it is durable, and sends the next.

    Also the time from sending to the answer, at the middle and at the 99th percentile, and how many went to a group.
    """
    took: list[list[float]] = [[] for _ in range(threads)]
    start, run, groups = time.perf_counter(), uuid.uuid4().hex[:8], store.writer.groups

    def send(number: int) -> None:
        while (began := time.perf_counter()) - start < seconds:
            what = {"user_id": f"user-{number}", "item_id": f"item-{len(took[number]) % 100}", "action": "view"}
            event = checked({**what, "event_id": f"{run}-{number}-{len(took[number])}", "timestamp": time.time()})
            assert isinstance(event, Event)
            store.events.append([event])
            took[number].append(time.perf_counter() - began)

    running = [threading.Thread(target=send, args=(number,)) for number in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    whole = time.perf_counter() - start
    waits = sorted(wait * 1000 for one in took for wait in one)
    per_group = len(waits) / max(1, store.writer.groups - groups)
    quantiles = {"p50_ms": waits[len(waits) // 2], "p99_ms": waits[int(len(waits) * 0.99)]}
    return {"events_per_s": len(waits) / whole, **quantiles, "events": len(waits), "events_per_group": per_group}
