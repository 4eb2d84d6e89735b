"""The first page: which model answers, how much, how fast, and what should be looked at."""

from __future__ import annotations

import contextlib
from typing import Any

from fastapi import Request
from nicegui import ui

from genre.console.calling import Unanswered
from genre.console.charts import Line, lines, options
from genre.console.frame import Visit, gate_words, show_error
from genre.console.parts import badge, box, card, empty, link, table, tile, words
from genre.console.readings import Reading, alarms, quantile
from genre.console.watching import Clicks, Drift

EVERY = 5.0
"""Seconds between two readings while the page is open."""
COUNT = 60.0
"""Seconds between two counts of how slates were answered to, which cost the store more."""
WEEK = 10
"""Counts after which the week is counted anew, too."""


async def overview(visit: Visit, request: Request) -> None:
    """Read the service now, and again while the page is open."""
    page = Overview(visit)
    page.build()
    await page.count()
    await page.look()
    ui.timer(EVERY, page.look)
    ui.timer(COUNT, page.count, immediate=False)


class Overview:
    """The parts of the page that change."""

    def __init__(self, visit: Visit) -> None:
        self.visit = visit
        self.plots: dict[str, ui.echart] = {}
        self.clicks, self.drift = Clicks(visit), Drift(visit)
        self.counts = 0

    def build(self) -> None:
        """The places, empty."""
        say = self.visit.say
        self.alarms = box("div", "stack", aria_live="polite")
        self.tiles = box("div", "tiles")
        with box("div", "halves"):
            with card(say("overview.traffic"), say("overview.since")):
                self.plots["traffic"] = lines(say("overview.traffic"), [], times=True, unit=say("per_second"))
            with card(say("overview.latency"), say("overview.latency.note")):
                self.plots["latency"] = lines(say("overview.latency"), [], times=True, unit="ms")
        self.clicks.build()
        self.drift.build()
        with box("div", "halves"):
            self.rungs = card(say("overview.rungs"), say("overview.rungs.note"))
            self.steps = card(say("overview.steps"), say("overview.steps.note"))

    async def count(self) -> None:
        """Read what the store has to be asked for; what it does not tell stays as it was, and `look` says why."""
        with contextlib.suppress(Unanswered):
            await self.clicks.read(self.counts % WEEK == 0)
        with contextlib.suppress(Unanswered):
            await self.drift.read()
        self.counts += 1

    async def look(self) -> None:
        """Read, and draw what was read."""
        visit = self.visit
        try:
            ready = await visit.api.get("/v1/health/ready")
            now = visit.watcher.add(await visit.api.text("/v1/metrics"))
            models = (await visit.api.get("/v1/models"))["rows"]
        except Unanswered as error:
            self.alarms.clear()
            with self.alarms:
                show_error(error, visit.say)
            return
        late = visit.watcher.window()
        self._alarms(ready, now, late, models)
        self._tiles(ready, now, late, models)
        self._plots()
        self._tables(now)

    def _alarms(self, ready: Any, now: Reading, late: Reading | None, models: list[Any]) -> None:
        say = self.visit.say
        self.alarms.clear()
        with self.alarms:
            told = [{**one, "gate": {**one["gate"], "why": gate_words(one["gate"], say)}} for one in models]
            found = [*alarms(ready, now, late, told), *self.clicks.alarms(), *self.drift.alarms()]
            for one in found:
                with box("div", f"alarm {one.tone}"):
                    words("strong", say(f"alarm.{one.name}", **one.values))
                    words("span", say(f"alarm.{one.name}.mend", **one.values))
            if not found:
                with box("div", "alarm good"):
                    words("strong", say("alarm.none"))
                    words("span", say("alarm.none.note"))

    def _tiles(self, ready: Any, now: Reading, late: Reading | None, models: list[Any]) -> None:
        say = self.visit.say
        seen = late or now
        p50, p99 = quantile(seen, 0.5), quantile(seen, 0.99)
        slates, events = now.total("genre_slates_total"), now.total("genre_events_total", status="accepted")
        active = next((one for one in models if one["state"] == "active"), None)
        self.tiles.clear()
        with self.tiles:
            gate = active["gate"]["passed"] if active else None
            tone = {True: "good", False: "bad", None: ""}[gate]
            tile(say("overview.model"), ready["model"], f"{ready['version']} · {say(f'gate.{gate}')}", tone)
            tile(say("overview.up"), say.span(ready["up_seconds"]), say("overview.waiting", n=ready["waiting"]))
            rate = "–" if late is None else f"{late.total('genre_slates_total') / max(late.at, 1e-9):.2f}/s"
            tile(say("overview.slates"), f"{int(slates):,}", say("overview.now", rate=rate))
            rate = "–" if late is None else f"{late.total('genre_events_total') / max(late.at, 1e-9):.2f}/s"
            tile(say("overview.events"), f"{int(events):,}", say("overview.now", rate=rate))
            tile(say("overview.p99"), _ms(p99), say("overview.median", ms=_ms(p50)))
            self.clicks.tile()
            rss = now.total("process_resident_memory_bytes")
            tile(say("overview.memory"), f"{rss / 2**20:,.0f} MiB" if rss else "–", say("overview.memory.note"))

    def _plots(self) -> None:
        say, watcher = self.visit.say, self.visit.watcher
        drawn = {
            "traffic": [
                Line(say("overview.slates"), _per_second(watcher.series(_rate("genre_slates_total")))),
                Line(say("overview.events"), _per_second(watcher.series(_rate("genre_events_total")))),
            ],
            "latency": [
                Line("p50", _milliseconds(watcher.series(lambda one: quantile(one, 0.5)))),
                Line("p99", _milliseconds(watcher.series(lambda one: quantile(one, 0.99)))),
            ],
        }
        for name, found in drawn.items():
            unit = say("per_second") if name == "traffic" else "ms"
            made = options(say(f"overview.{name}"), found, times=True, unit=unit, zero=True)
            self.plots[name].options.update(made)
            self.plots[name].update()

    def _tables(self, now: Reading) -> None:
        say = self.visit.say
        _only_head(self.rungs)
        with self.rungs:
            rungs, degraded = now.by("genre_slates_total", "rung"), now.by("genre_degraded_total", "reason")
            total = sum(rungs.values())
            if not total:
                empty(say("overview.no_slates"), say("overview.no_slates.teach"))
                with box("div", "rowed"):
                    link(say("overview.try"), "/try", "button")
            else:
                rows = [
                    (
                        lambda name=name: badge(say(f"rung.{name}"), "good" if name == "full" else "warn"),
                        f"{int(n):,}",
                        f"{n / total:.1%}",
                    )
                    for name, n in sorted(rungs.items(), key=lambda one: -one[1])
                ]
                table(say("overview.rungs"), [say("overview.rung"), say("overview.slates"), say("share")], rows, (1, 2))
            if degraded:
                rows = [(name, f"{int(n):,}") for name, n in sorted(degraded.items(), key=lambda one: -one[1])]
                table(say("overview.without"), [say("overview.without"), say("times")], rows, (1,))
        _only_head(self.steps)
        with self.steps:
            stages = now.by("genre_stage_seconds_total", "stage")
            total = sum(stages.values())
            if not total:
                empty(say("overview.no_steps"), say("overview.no_slates.teach"))
            else:
                rows = [
                    (name, f"{1000 * s:,.1f}", f"{s / total:.1%}")
                    for name, s in sorted(stages.items(), key=lambda one: -one[1])[:8]
                ]
                table(say("overview.steps"), [say("overview.step"), "ms", say("share")], rows, (1, 2))


def _only_head(part: ui.element) -> None:
    """Take out of a card all but its heading and note."""
    for child in list(part)[2:]:
        part.remove(child)


def _rate(name: str) -> Any:
    return lambda since: since.total(name) / max(since.at, 1e-9)


def _per_second(points: list[tuple[float, float | None]]) -> list[tuple[Any, float | None]]:
    return [(1000 * at, None if value is None else round(value, 3)) for at, value in points]


def _milliseconds(points: list[tuple[float, float | None]]) -> list[tuple[Any, float | None]]:
    return [(1000 * at, None if value is None else round(1000 * value, 2)) for at, value in points]


def _ms(seconds: float | None) -> str:
    return "–" if seconds is None else f"{1000 * seconds:,.0f} ms"
