"""How fast the store takes events in: many threads that each wait until an event is durable, beside one thread alone.

    python benchmarks/store.py                                        # SQLite in a folder of its own
    python benchmarks/store.py --url postgresql://genre@localhost/try # a PostgreSQL that is there; it keeps the events

One thread is what a commit for each event costs; the others show what is gained where commits are shared. Both in turn,
medians with ranges. Results: benchmarks/results/store.json.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import threading
import time
import uuid
from pathlib import Path

from genre.component import Slot
from genre.run import machine, versions
from genre.store import Store, open_store
from genre.store.checking import checked
from genre.store.records import Event

THREADS = (1, 32)


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


def main() -> None:
    """Measure, print, keep."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--url", help="of a PostgreSQL; SQLite without it")
    options.add_argument("--repeats", type=int, default=5)
    options.add_argument("--seconds", type=float, default=3.0, help="of each measurement")
    options.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "store.json")
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        file = {"type": "sqlite", "path": str(Path(folder) / "store.db")}
        store = open_store(Slot("stores").build({"type": "postgres", "url": chosen.url} if chosen.url else file))
        found: dict[int, list[dict[str, float]]] = {threads: [] for threads in THREADS}
        for _ in range(chosen.repeats):
            for threads, rows in found.items():
                rows.append(durable_events(store, threads, chosen.seconds))
        store.close()
    kind = "postgres" if chosen.url else "sqlite"
    for threads, rows in found.items():
        rates = [row["events_per_s"] for row in rows]
        waits, together = (statistics.median(row[name] for row in rows) for name in ("p99_ms", "events_per_group"))
        ends = f"[{min(rates):.0f}, {max(rates):.0f}]"
        print(
            f"{kind}, {threads:2} threads: {statistics.median(rates):6.0f} events/s {ends}, p99 {waits:.1f} ms,",
            end=" ",
        )
        print(f"{together:.1f} a commit")
    before = json.loads(chosen.out.read_text(encoding="utf-8")) if chosen.out.exists() else {}
    facts = {**before, kind: {str(n): rows for n, rows in found.items()}, "machine": machine(), "versions": versions()}
    chosen.out.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
