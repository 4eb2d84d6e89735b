"""`genre serve` under half an hour of everything that it is asked, and what that does to its memory.

    python benchmarks/soak.py --run runs/quickstart                  # a finished run; copied, not changed
    python benchmarks/soak.py --run runs/quickstart --minutes 3 --warm 1

The load is open and comes from this process, at random moments (Poisson), the service is another: slates for known and
new people, histories, texts, with and without reasons; events one by one and in batches, similar items, items that
change, decisions and reviews, slates read back, metrics, pages of the console held open over their socket, and another
model every ``--reload`` seconds. People are those of the run, more than the caches hold (``--cached``), so that these
are full and forget before the first ``--warm`` minutes are over; a history of the store has a bounded length too. What
grows on purpose, events and slates, is on disk.

Resident memory is read every five seconds. Of what follows the warm-up: the medians of the minutes, how far any of
them lies from the median of all, and the slope with its 95 % interval (Theil and Sen). A model that is read stands
beside the one that answers, so single samples peak while one is. Linux only, as memory is split by /proc.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import re
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from genre.run import machine, versions
from serving import HERE, Connections, Service, listens, ours, people_and_items, started

EVERY = 5.0
"""Seconds between two readings of memory."""
TURNS = ("first", "second")
"""Names of the two copies of the run that take turns in answering."""
PAGES = ("", "try", "items", "experiments", "models", "jobs", "settings")
OPEN = 15.0
"""Seconds that a page of the console stays open."""
LOOKED = 5.0
"""Seconds from a decision, or a report, to its end."""
WORDS = ("river", "night", "war", "song", "city", "love", "star", "king", "detective", "island", "ghost", "school")


@dataclass
class Kind:
    """One sort of request."""

    rate: float
    """Times a second."""
    send: Callable[[], Coroutine[Any, Any, list[int]]]
    """Send it; the statuses of what came back."""
    pause: float = 0.0
    """Seconds that it waits by itself, and that are no latency."""
    seconds: list[float] = field(default_factory=list)
    statuses: dict[int, int] = field(default_factory=dict)

    def told(self) -> dict[str, Any]:
        """As numbers; a request that was not answered is of status 0."""
        ordered = sorted(self.seconds)
        at = {f"{n}_ms": ordered[min(len(ordered) - 1, int(s * len(ordered)))] for n, s in POINTS.items() if ordered}
        return {"requests": len(ordered), "statuses": self.statuses} | {n: round(1000 * v, 2) for n, v in at.items()}


POINTS = {"p50": 0.5, "p99": 0.99, "max": 1.0}


class Crowd:
    """All that is asked."""

    def __init__(self, service: Service, users: list[str], items: list[str], columns: dict[str, Any]) -> None:
        self.http, self.url = Connections(service.url), service.url
        self.users, self.items, self.columns = users, items, columns
        self.rng = random.Random(3)
        self.slates: list[str] = []
        """Of late, for events and to be read back."""
        self.number, self.turn, self.views = 0, 0, 0
        self.changing = asyncio.Lock()

    def kinds(self, pace: float, reload: float, console: bool) -> dict[str, Kind]:
        """What is sent, and how often; about 19 a second at a pace of 1."""
        found = {
            "known person": Kind(7.0, self.known_person),
            "new person": Kind(1.0, self.new_person),
            "history": Kind(2.0, self.history),
            "text": Kind(2.0, self.text),
            "with reasons": Kind(0.2, self.reasons),
            "event": Kind(3.5, lambda: self.events(1)),
            "events in a batch": Kind(0.3, lambda: self.events(self.rng.randrange(5, 51))),
            "similar": Kind(1.5, self.similar),
            "slate read back": Kind(0.8, self.read_back),
            "item changed": Kind(0.3, self.item),
            "moderation": Kind(0.05, self.moderation, LOOKED),
            "metrics": Kind(0.1, self.metrics),
        }
        for kind in found.values():
            kind.rate *= pace
        if reload:
            found["another model"] = Kind(1 / reload, self.model)
        if console:
            found["page of the console"] = Kind(0.1, self.page, OPEN)
        return found

    async def _post(self, path: str, **asked: Any) -> tuple[int, bytes]:
        return await self.http.post(path, json.dumps(asked).encode())

    async def _slate(self, **asked: Any) -> list[int]:
        status, content = await self._post("/v1/recommend", **asked)
        found = re.search(rb'"slate_id":"(\w+)"', content)
        if found:
            self.slates = [*self.slates[-199:], found.group(1).decode()]
        return [status]

    async def known_person(self) -> list[int]:
        return await self._slate(user_id=self.rng.choice(self.users), k=10)

    async def new_person(self) -> list[int]:
        self.number += 1
        return await self._slate(user_id=f"visitor-{self.number}", k=10)

    async def history(self) -> list[int]:
        return await self._slate(history=self.rng.sample(self.items, self.rng.randrange(1, 30)), k=10)

    async def text(self) -> list[int]:
        return await self._slate(text=" ".join(self.rng.sample(WORDS, 3)), k=10)

    async def reasons(self) -> list[int]:
        language = self.rng.choice(("en", "zh"))
        return await self._slate(user_id=self.rng.choice(self.users), k=3, explain=True, trace=True, language=language)

    async def events(self, count: int) -> list[int]:
        made = []
        for _ in range(count):
            self.number += 1
            known = self.rng.random() < 0.9
            user = self.rng.choice(self.users) if known else f"visitor-{self.rng.randrange(1, self.number + 1)}"
            one = {"event_id": f"s{self.number}", "user_id": user, "item_id": self.rng.choice(self.items)}
            slate = (
                {"slate_id": self.rng.choice(self.slates), "position": self.rng.randrange(10)} if self.slates else {}
            )
            made.append({**one, "action": "rate", "value": self.rng.randrange(1, 6), **slate})
        return [(await self._post("/v1/events", events=made))[0]]

    async def similar(self) -> list[int]:
        return [(await self.http.ask("GET", f"/v1/items/{self.rng.choice(self.items)}/similar?k=10"))[0]]

    async def read_back(self) -> list[int]:
        if not self.slates:
            return []
        return [(await self.http.ask("GET", f"/v1/slates/{self.rng.choice(self.slates)}"))[0]]

    async def item(self) -> list[int]:
        item = self.rng.choice(self.items)
        row = {"item_id": item, **self.columns[item], "shelf": self.rng.randrange(100)}
        return [(await self._post("/v1/items", rows=[row]))[0]]

    async def moderation(self) -> list[int]:
        """An item is hidden for a moment, or somebody is to look at one."""
        item = self.rng.choice(self.items)
        if self.rng.random() < 0.5:
            made, told = await self._post("/v1/moderation/reviews", item_id=item, why="somebody complained")
            end, asked = "reviews/{}/resolve", {"outcome": "it may stay"}
        else:
            made, told = await self._post(
                "/v1/moderation/decisions", verdict="hide", item_id=item, why="to be looked at"
            )
            end, asked = "decisions/{}/release", {"why": "it may stay"}
        await asyncio.sleep(LOOKED)
        path = "/v1/moderation/" + end.format(json.loads(told).get("number"))
        return [made, (await self._post(path, **asked))[0]]

    async def metrics(self) -> list[int]:
        return [(await self.http.ask("GET", "/v1/metrics"))[0], (await self.http.ask("GET", "/v1/health/ready"))[0]]

    async def model(self) -> list[int]:
        """The other copy of the run is read, and takes over; one change after the other."""
        async with self.changing:
            self.turn += 1
            name = TURNS[self.turn % 2]
            loaded, _ = await self.http.ask("POST", f"/v1/models/{name}/load")
            activated, _ = await self._post(f"/v1/models/{name}/activate")
        return [loaded, activated]

    async def page(self) -> list[int]:
        """A page, seen as a browser does: with a session of its own and a socket, until it is closed."""
        import aiohttp
        import socketio
        from socketio.exceptions import ConnectionError as Unconnected

        self.views += 1
        view = self.views
        async with aiohttp.ClientSession(
            headers={"Origin": self.url}, cookie_jar=aiohttp.CookieJar(unsafe=True)
        ) as http:
            async with http.get(f"{self.url}/console/{PAGES[view % len(PAGES)]}") as reply:
                status, text = reply.status, await reply.text()
            found = re.search(r"'client_id': '([\w-]+)'", text)
            if found is None:
                return [status, 0]
            seen = {"client_id": found.group(1), "next_message_id": 0, "implicit_handshake": "true"}
            query = "&".join(f"{n}={v}" for n, v in {**seen, "tab_id": view, "document_id": view}.items())
            socket = socketio.AsyncClient(http_session=http, reconnection=False)
            where = {"socketio_path": "/console/_nicegui_ws/socket.io", "transports": ["websocket"]}
            try:
                await socket.connect(f"{self.url}?{query}", wait_timeout=10, **where)
                await asyncio.sleep(OPEN)
                told = status if socket.connected else 0
                await socket.disconnect()
            except Unconnected as error:
                raise ConnectionError(str(error)) from error
        return [status, told]


async def pour(kind: Kind, until: float, rng: random.Random) -> None:
    """Send one kind of request at random moments until a time; latency counts from the moment."""
    due, tasks = time.perf_counter() + rng.expovariate(kind.rate), set()

    async def one(due: float) -> None:
        try:
            statuses = await kind.send()
        except (OSError, EOFError, asyncio.IncompleteReadError) as error:
            print(f"not answered: {error!r}")
            statuses = [0]
        kind.seconds.append(time.perf_counter() - due - kind.pause)
        for status in statuses:
            kind.statuses[status] = kind.statuses.get(status, 0) + 1

    while due < until:
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        task = asyncio.create_task(one(due))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        due += rng.expovariate(kind.rate)
    await asyncio.gather(*tasks)


def reading(service: Service, since: float) -> dict[str, float]:
    """What the service holds, in MB."""
    process = psutil.Process(service.process.pid)
    lines = dict(line.split(":", 1) for line in Path(f"/proc/{process.pid}/status").read_text().splitlines())
    held = {"rss": "VmRSS", "own": "RssAnon", "mapped": "RssFile", "peak": "VmHWM"}
    told = {name: round(int(lines[key].split()[0]) / 1024, 1) for name, key in held.items()}
    facts = {"files": process.num_fds(), "threads": process.num_threads(), "cpu": round(service.cpu, 1)}
    return {"second": round(time.perf_counter() - since, 1), **told, **facts}


async def soaked(crowd: Crowd, service: Service, kinds: dict[str, Kind], minutes: float) -> list[dict[str, float]]:
    """The load, and the readings meanwhile."""
    began, readings = time.perf_counter(), []
    until = began + 60 * minutes
    pours = [asyncio.create_task(pour(kind, until, random.Random(i))) for i, kind in enumerate(kinds.values())]
    while time.perf_counter() < until:
        await asyncio.sleep(EVERY)
        readings.append(reading(service, began))
    await asyncio.gather(*pours)
    crowd.http.close()
    return readings


def flatness(readings: list[dict[str, float]], warm: float) -> dict[str, Any]:
    """How flat memory is after the warm-up, by the medians of the minutes."""
    from scipy.stats import theilslopes

    minutes: dict[int, list[float]] = {}
    for one in readings:
        if one["second"] >= 60 * warm:
            minutes.setdefault(int(one["second"] // 60), []).append(one["rss"])
    medians = {minute: statistics.median(sizes) for minute, sizes in minutes.items()}
    middle = statistics.median(medians.values())
    fitted: Any = theilslopes(list(medians.values()), list(medians))
    slope, low, high = float(fitted.slope), float(fitted.low_slope), float(fitted.high_slope)
    samples = [size for sizes in minutes.values() for size in sizes]
    return {
        "median_mb": round(middle, 1),
        "minute_medians_mb": [round(one, 1) for one in medians.values()],
        "slope_mb_an_hour": round(60 * slope, 2),
        "slope_ci95": [round(60 * low, 2), round(60 * high, 2)],
        "deviation_of_minutes": round(max(abs(one / middle - 1) for one in medians.values()), 4),
        "deviation_of_samples": round(max(abs(one / middle - 1) for one in samples), 4),
        "last_five_against_first_five": round(
            statistics.fmean(list(medians.values())[-5:]) / statistics.fmean(list(medians.values())[:5]) - 1, 4
        ),
    }


def picture(result: dict[str, Any]) -> str:
    """Memory over time, with the band of 5 % around the median after the warm-up."""
    from genre.figures import FAINT, SERIES, alone, as_svg, drawing

    readings, warm = result["readings"], result["warm_minutes"]
    at = [one["second"] / 60 for one in readings]
    middle = result["flat"]["median_mb"]
    with drawing("soak", (7.6, 3.4)) as (figure, (axis,)):
        axis.axhspan(
            0.95 * middle, 1.05 * middle, color=SERIES[4], alpha=0.12, linewidth=0, label="median, 5 % each way"
        )
        axis.plot(at, [one["rss"] for one in readings], color=SERIES[0], linewidth=1.4, label="resident")
        axis.plot(at, [one["own"] for one in readings], color=SERIES[1], linewidth=1.2, linestyle="--", label="its own")
        axis.axvline(warm, color=FAINT, linewidth=0.8, linestyle=":", label="end of the warm-up")
        axis.set(xlabel="minutes of mixed load", ylabel="MB", ylim=(0, 1.35 * max(one["rss"] for one in readings)))
        axis.legend(fontsize=8.5, ncols=2, loc="lower right")
        return alone(as_svg(figure))


def columns_of(run: Path) -> dict[str, dict[str, Any]]:
    """What is known of each item."""
    import pyarrow.parquet as pq

    rows = pq.read_table(run / "data" / "items.parquet").to_pylist()
    return {row.pop("item_id"): {name: one for name, one in row.items() if one is not None} for row in rows}


def main() -> None:
    """Run it, say what came of it, keep JSON and picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, default=Path("runs/quickstart"), help="a finished run")
    parser.add_argument("--minutes", type=float, default=30.0, help="of load, the warm-up among them")
    parser.add_argument("--warm", type=float, default=5.0, help="minutes that do not count")
    parser.add_argument("--pace", type=float, default=1.0, help="times the load")
    parser.add_argument("--cached", type=int, default=300, help="people that the service keeps in memory")
    parser.add_argument("--reload", type=float, default=300.0, help="seconds from model to model on average; 0: none")
    parser.add_argument("--no-console", action="store_true", help="without its pages")
    parser.add_argument("--out", type=Path, default=HERE / "results" / "soak.json")
    given = parser.parse_args()
    users, items = people_and_items(given.run)
    result: dict[str, Any] = {"run": given.run.name, "items": len(items), "people": len(users)}
    result |= {"warm_minutes": given.warm, "minutes": given.minutes, "cached_users": given.cached}
    result |= {"pace": given.pace, "reload_seconds": given.reload}
    result |= {"machine": machine(), "versions": versions()}
    with tempfile.TemporaryDirectory() as scratch:
        for name in TURNS:
            shutil.copytree(given.run, Path(scratch) / name, ignore=shutil.ignore_patterns("store.db*"))
        command = [*ours(Path(scratch) / TURNS[0], Path(scratch) / "store.db"), f"cached_users={given.cached}"]
        with started([*command, "history=50"], listens) as service:
            crowd = Crowd(service, users, items, columns_of(given.run))
            kinds = crowd.kinds(given.pace, given.reload, not given.no_console)
            before, began = service.cpu, time.perf_counter()
            result["readings"] = asyncio.run(soaked(crowd, service, kinds, given.minutes))
            result["cores_used"] = round((service.cpu - before) / (time.perf_counter() - began), 3)
            result["slates_lost"], result["rungs"] = asyncio.run(counted(service.url))
        result["store_mb"] = round((Path(scratch) / "store.db").stat().st_size / 2**20, 1)
    result["kinds"] = {name: kind.told() for name, kind in kinds.items()}
    result["flat"] = flatness(result["readings"], given.warm)
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps(result, indent=1) + "\n")
    given.out.with_suffix(".svg").write_text(picture(result))
    show(result)
    print(f"-> {given.out}")


async def counted(url: str) -> tuple[float, dict[str, float]]:
    """Slates that could not be written, and what answered, by the service's own counts."""
    http = Connections(url)
    text = (await http.ask("GET", "/v1/metrics"))[1].decode()
    http.close()
    lost = re.search(r"^genre_slates_lost_total (\S+)", text, re.MULTILINE)
    rungs = re.findall(r'^genre_slates_total\{.*?rung="(\w+)".*?\} (\S+)', text, re.MULTILINE)
    found: dict[str, float] = {}
    for rung, count in rungs:
        found[rung] = found.get(rung, 0) + float(count)
    return float(lost.group(1)) if lost else 0.0, found


def show(result: dict[str, Any]) -> None:
    """The numbers."""
    for name, one in result["kinds"].items():
        times = " ".join(f"{one[f'{key}_ms']:9.1f}" for key in POINTS if f"{key}_ms" in one)
        print(f"{name:22} {one['requests']:7} {times}  {one['statuses']}")
    flat, readings = result["flat"], result["readings"]
    print(f"{result['cores_used']} cores; rungs {result['rungs']}; slates lost {result['slates_lost']:g}")
    print(f"median {flat['median_mb']} MB; slope {flat['slope_mb_an_hour']} MB an hour {flat['slope_ci95']}")
    print(f"largest deviation: minutes {flat['deviation_of_minutes']:.1%}, samples {flat['deviation_of_samples']:.1%}")
    print(f"files {readings[0]['files']} -> {readings[-1]['files']}, threads {readings[0]['threads']} -> ", end="")
    print(f"{readings[-1]['threads']}; store {result['store_mb']} MB; peak {readings[-1]['peak']} MB")


if __name__ == "__main__":
    main()
