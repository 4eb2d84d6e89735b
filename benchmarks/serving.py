"""`genre serve` under load that comes at a constant rate, beside a bare uvicorn + FastAPI endpoint of the same run.

    python benchmarks/serving.py --run runs/quickstart             # a finished run
    python benchmarks/serving.py --items 10000                     # a run of so many items, made once, of MiniLM

The load is open: requests are sent when their time has come, whether earlier ones are answered or not, and latency
counts from that time, so that a stall is felt by all that should have been sent in it. It comes from this process, the
services are others. CPU is that of the service's process, divided by its requests; the bare endpoint checks a body by
pydantic and sends a slate of ten items that it does not compute. ``cached`` asks for people of whom nothing new is
known, ``new`` for histories that were never asked for, ``texts`` for texts; ``events`` sends single events from many
connections, each acknowledged when it is durable. ``sleeps`` asks for new histories of a service of its own whose
source `ease` sleeps for a second each time, and counts what came after the deadline of 300 ms. Ratios hold on a machine
that is busy otherwise; times do not. What memory does in half an hour is for ``soak.py``.
"""

from __future__ import annotations

import argparse
import asyncio
import csv
import itertools
import json
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from genre.run import machine, versions

HERE = Path(__file__).parent
WAIT = 900
EVENTS_A_PERSON = 10
PEOPLE = 200
"""Whose slates are asked for again and again."""
BARE = """
import uvicorn
from typing import Any
from fastapi import FastAPI
from pydantic import BaseModel

class Asked(BaseModel):
    user_id: str
    k: int = 10

app = FastAPI()
ITEMS = [{"item_id": str(i), "score": 1.0 - i / 10, "sources": {"model": i}} for i in range(10)]

@app.post("/v1/recommend")
async def recommend(asked: Asked) -> dict[str, Any]:
    return {"slate_id": "1", "user_id": asked.user_id, "items": ITEMS[: asked.k]}

@app.get("/v1/health/ready")
async def ready() -> dict[str, Any]:
    return {}

uvicorn.run(app, port=PORT, log_level="error", access_log=False)
"""

SLEEPY = """
import time
from genre.sources.ease import EASE

score = EASE.score

def asleep(*given):
    time.sleep(1.0)
    return score(*given)

EASE.score = asleep
"""
DEADLINE = 0.3
"""Seconds: what `serve.deadline_ms` is unless told."""


@dataclass
class Service:
    """A process that answers."""

    url: str
    process: subprocess.Popen[str]

    @property
    def cpu(self) -> float:
        """Seconds of processor that it has used."""
        used = psutil.Process(self.process.pid).cpu_times()
        return used.user + used.system

    @property
    def memory(self) -> float:
        """Resident, in MB."""
        return psutil.Process(self.process.pid).memory_info().rss / 2**20


@dataclass
class Load:
    """What came of requests at a constant rate."""

    seconds: list[float] = field(default_factory=list)
    statuses: dict[int, int] = field(default_factory=dict)
    rungs: dict[str, int] = field(default_factory=dict)
    degraded: dict[str, int] = field(default_factory=dict)

    def note(self, seconds: float, status: int, body: bytes) -> None:
        """One answer."""
        self.seconds.append(seconds)
        self.statuses[status] = self.statuses.get(status, 0) + 1
        found = re.search(rb'"rung":"(\w+)"', body)
        if found:
            rung = found.group(1).decode()
            self.rungs[rung] = self.rungs.get(rung, 0) + 1
        without = re.search(rb'"degraded":\[([^\]]+)\]', body)
        for word in without.group(1).decode().replace('"', "").split(",") if without else ():
            self.degraded[word] = self.degraded.get(word, 0) + 1

    def told(self, cpu: float) -> dict[str, Any]:
        """As numbers."""
        ordered = sorted(self.seconds)
        at = {name: ordered[min(len(ordered) - 1, int(share * len(ordered)))] for name, share in POINTS.items()}
        return {
            "requests": len(ordered),
            **{f"{name}_ms": round(1000 * value, 2) for name, value in at.items()},
            "cpu_ms_a_request": round(1000 * cpu / len(ordered), 3),
            "statuses": self.statuses,
            "rungs": self.rungs,
            "degraded": self.degraded,
            "after_deadline": sum(one > DEADLINE for one in ordered),
        }


POINTS = {"p50": 0.5, "p95": 0.95, "p99": 0.99, "max": 1.0}


class Connections:
    """Connections that are kept open, and as little work a request as can be: the load shares the machine."""

    def __init__(self, url: str) -> None:
        self.host, _, port = url.removeprefix("http://").partition(":")
        self.port = int(port)
        self._free: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def post(self, path: str, body: bytes) -> tuple[int, bytes]:
        """Send a body; the status and what comes back."""
        return await self.ask("POST", path, body)

    async def ask(self, method: str, path: str, body: bytes = b"") -> tuple[int, bytes]:
        """Ask for anything; the status and what comes back."""
        head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        sent = f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
        try:
            reader, writer, answer = await self._sent(sent, fresh=False)
        except (ConnectionError, asyncio.IncompleteReadError):
            # A service may give up an idle connection at the moment at which something is sent on it.
            reader, writer, answer = await self._sent(sent, fresh=True)
        length = re.search(rb"content-length: (\d+)", answer, re.IGNORECASE)
        content = await reader.readexactly(int(length.group(1)) if length else 0)
        self._free.append((reader, writer))
        return int(answer.split(b" ", 2)[1]), content

    async def _sent(self, sent: bytes, fresh: bool) -> tuple[asyncio.StreamReader, asyncio.StreamWriter, bytes]:
        """Send on a connection that is kept, or a fresh one; that, and the head of the answer."""
        kept = self._free.pop() if self._free and not fresh else None
        reader, writer = kept or await asyncio.open_connection(self.host, self.port)
        writer.write(sent)
        return reader, writer, await reader.readuntil(b"\r\n\r\n")

    def close(self) -> None:
        """Let them go."""
        for _, writer in self._free:
            writer.close()


async def at_rate(url: str, path: str, bodies: Callable[[], bytes], rate: float, seconds: float) -> Load:
    """Requests at even times."""
    load, connections, tasks = Load(), Connections(url), set()
    began = time.perf_counter()

    async def one(due: float) -> None:
        status, content = await connections.post(path, bodies())
        load.note(time.perf_counter() - due, status, content)

    for number in range(int(rate * seconds)):
        due = began + number / rate
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        task = asyncio.create_task(one(due))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
    await asyncio.gather(*tasks)
    connections.close()
    return load


def measured(service: Service, bodies: Callable[[], bytes], rate: float, seconds: float) -> dict[str, Any]:
    """A load of `recommend`, and the processor time that it cost the service."""
    before = service.cpu
    load = asyncio.run(at_rate(service.url, "/v1/recommend", bodies, rate, seconds))
    return load.told(service.cpu - before)


async def events(url: str, connections: int, seconds: float) -> dict[str, Any]:
    """Single events from many connections, each waiting for its acknowledgement."""
    pool, until, times = Connections(url), time.perf_counter() + seconds, []

    async def sender(number: int) -> None:
        sent = 0
        while time.perf_counter() < until:
            event = {"event_id": f"b{number}-{sent}-{until}", "user_id": f"e{number}", "item_id": "1", "action": "view"}
            began = time.perf_counter()
            status, content = await pool.post("/v1/events", json.dumps({"events": [event]}).encode())
            if status == 200 and b'"accepted":1' in content:
                times.append(time.perf_counter() - began)
            sent += 1

    began = time.perf_counter()
    await asyncio.gather(*(sender(number) for number in range(connections)))
    took = time.perf_counter() - began
    pool.close()
    ordered = sorted(times)
    told = {
        name: round(1000 * ordered[min(len(ordered) - 1, int(at * len(ordered)))], 1) for name, at in POINTS.items()
    }
    return {"events_a_second": round(len(times) / took, 1), **{f"{name}_ms": one for name, one in told.items()}}


@contextmanager
def started(command: list[str], url: Callable[[str], str | None]) -> Iterator[Service]:
    """A process, once it answers; ended with the block."""
    log = Path(tempfile.mkstemp(suffix=".log")[1])
    with log.open("w") as out:
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, text=True)
    try:
        until = time.monotonic() + WAIT
        while (found := url(log.read_text())) is None or not asyncio.run(answers(found)):
            if process.poll() is not None or time.monotonic() > until:
                raise SystemExit(f"{' '.join(command)[:200]}:\n{log.read_text()[-2000:]}")
            time.sleep(0.2)
        yield Service(found, process)
    finally:
        process.terminate()
        process.wait(30)
        log.unlink()


async def answers(url: str) -> bool:
    """Whether something listens."""
    host, _, port = url.removeprefix("http://").partition(":")
    try:
        _, writer = await asyncio.open_connection(host, int(port))
    except OSError:
        return False
    writer.close()
    return True


def bare(port: int) -> list[str]:
    """The command of the bare endpoint."""
    return [sys.executable, "-c", BARE.replace("PORT", str(port))]


def ours(run: Path, store: Path, before: str = "") -> list[str]:
    """The command of the service, without limits of pace, on a store of its own; ``before`` is code that runs first."""
    code = f"{before}\nfrom genre.cli import main; main()"
    settings = ["rate=1000000", "burst=1000000", "--port", "0", "--store", str(store)]
    return [sys.executable, "-c", code, "serve", str(run), *settings]


def listens(log: str) -> str | None:
    """The address that the service has printed."""
    found = re.search(r"^listens (\S+)", log, re.MULTILINE)
    return found.group(1) if found else None


def made_run(items: int, folder: Path, backbone: str) -> Path:
    """A run of so many items, made by the command line; people draw them by popularity (Zipf)."""
    run = folder / f"serving-{items}"
    if (run / "rank" / "manifest.json").exists():
        return run
    folder.mkdir(parents=True, exist_ok=True)
    rng = random.Random(7)
    words = [
        f"{a}{b}" for a in ("red", "old", "deep", "far", "high") for b in ("river", "city", "night", "song", "war")
    ]
    with (folder / "items.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["item_id", "title", "year"])
        for i in range(items):
            rows.writerow([i, f"{rng.choice(words)} {rng.choice(words)} {i}", 1950 + i % 70])
    shares = [1 / (i + 1) for i in range(items)]
    with (folder / "interactions.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["user_id", "item_id", "timestamp"])
        for user in range(max(300, items // 3)):
            for n, item in enumerate(rng.choices(range(items), shares, k=EVENTS_A_PERSON)):
                rows.writerow([user, item, 1_000_000 + 1000 * n])
    config = folder / "serving.yaml"
    config.write_text(
        f"name: serving-{items}\n"
        f"data: {{reader: {{type: table, interactions: {folder}/interactions.csv, items: {folder}/items.csv}}}}\n"
        f"model: {{backbone: {backbone}, template: '{{title}} {{year}}', ids: false, dim: 64}}\n"
        "train: {warmup_epochs: 1, epochs: 0}\n"
        "pipeline: {sources: [model, ease, transitions, popular]}\n"
    )
    for stage in ("prepare", "train", "rank"):
        command = [sys.executable, "-c", "from genre.cli import main; main()", stage, str(config)]
        subprocess.run(command, check=True, cwd=folder)
    shutil.move(folder / "runs" / run.name, run)
    return run


def people_and_items(run: Path) -> tuple[list[str], list[str]]:
    """Who is known to a run, and which items."""
    import pyarrow.parquet as pq

    users = pq.read_table(run / "data" / "users.parquet")["user_id"].to_pylist()
    return users, pq.read_table(run / "data" / "items.parquet")["item_id"].to_pylist()


def bodies_of(users: list[str], items: list[str]) -> dict[str, Callable[[], bytes]]:
    """What is asked, by the name of the load."""
    rng = random.Random(1)

    def body(**asked: Any) -> bytes:
        return json.dumps({"k": 10, **asked}).encode()

    # In turn, so that a first round over all of them leaves nobody new.
    few = itertools.cycle(users[:PEOPLE])
    return {
        "cached": lambda: body(user_id=next(few)),
        "new": lambda: body(history=rng.sample(items, min(12, len(items)))),
        "texts": lambda: body(text=" ".join(rng.choices(["river", "night", "war", "song", "city"], k=3))),
    }


def main() -> None:
    """Run all, print a table, keep the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, help="a finished run")
    parser.add_argument("--items", type=int, default=10_000, help="without --run: items of the run that is made")
    parser.add_argument("--backbone", default="minilm", help="and its language model")
    parser.add_argument("--rate", type=float, default=50.0, help="requests a second")
    parser.add_argument("--seconds", type=float, default=30.0, help="of each load")
    parser.add_argument("--connections", type=int, default=32, help="that send events")
    parser.add_argument("--folder", type=Path, default=Path("runs"), help="where a run is made")
    parser.add_argument("--out", type=Path, default=HERE / "results" / "serving.json")
    given = parser.parse_args()
    run = given.run or made_run(given.items, given.folder.resolve(), given.backbone)
    bodies = bodies_of(*people_and_items(run))
    result: dict[str, Any] = {"run": run.name, "rate": given.rate, "machine": machine(), "versions": versions()}
    result["items"] = len(people_and_items(run)[1])
    with tempfile.TemporaryDirectory() as scratch:
        with started(bare(8971), lambda _: "http://127.0.0.1:8971") as service:
            measured(service, bodies["cached"], given.rate, 2)
            result["bare"] = measured(service, bodies["cached"], given.rate, given.seconds)
        with started(ours(run, Path(scratch) / "store.db"), listens) as service:
            for name, load in bodies.items():
                measured(service, load, given.rate, 1.2 * PEOPLE / given.rate if name == "cached" else 2)
                result[name] = measured(service, load, given.rate, given.seconds)
                result[name]["cpu_ratio"] = round(
                    result[name]["cpu_ms_a_request"] / result["bare"]["cpu_ms_a_request"], 2
                )
            result["events"] = asyncio.run(events(service.url, given.connections, min(given.seconds, 10)))
            result["memory_mb"] = round(service.memory, 1)
        with started(ours(run, Path(scratch) / "sleepy.db", SLEEPY), listens) as service:
            measured(service, bodies["new"], given.rate, 2)
            result["sleeps"] = measured(service, bodies["new"], given.rate, given.seconds)
    show(result)
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps(result, indent=1) + "\n")
    print(f"-> {given.out}")


def show(result: dict[str, Any]) -> None:
    """The table."""
    print(f"{result['run']}: {result['items']:,} items, {result['rate']:g} requests/s")
    print(f"{'load':8} {'p50 ms':>8} {'p99 ms':>8} {'max ms':>8} {'CPU ms':>8} {'x bare':>7}  answers")
    for name in ("bare", "cached", "new", "texts", "sleeps"):
        one = result[name]
        ratio = f"{one['cpu_ms_a_request'] / result['bare']['cpu_ms_a_request']:7.2f}"
        answers = {**{str(status): count for status, count in one["statuses"].items()}, **one["rungs"]}
        answers |= {**one["degraded"], f"after {1000 * DEADLINE:g} ms": one["after_deadline"]}
        shown = " ".join(f"{what}:{count}" for what, count in answers.items())
        times = " ".join(f"{one[key]:8.2f}" for key in ("p50_ms", "p99_ms", "max_ms", "cpu_ms_a_request"))
        print(f"{name:8} {times} {ratio}  {shown}")
    found = result["events"]
    print(f"events: {found['events_a_second']} durable single events/s, p50 {found['p50_ms']} p99 {found['p99_ms']} ms")


if __name__ == "__main__":
    main()
