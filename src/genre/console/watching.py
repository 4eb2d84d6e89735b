"""What the first page says of clicks and drift: how slates are answered to, and whether things are as they were."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from genre.console.calling import Unanswered
from genre.console.charts import Line, Measured, intervals, lines, options
from genre.console.frame import Visit
from genre.console.parts import badge, box, button, card, choice, empty, picture, table, tile, words
from genre.console.readings import Alarm
from genre.console.words import Speech

BY = ("all", "model", "rung", "arm")
ENOUGH = 200
"""Slates of a day from which it is an alarm that none was answered to."""
DAYS = 3
"""Days before that today's rate must lie below, each, to be an alarm."""
MOST = 5.0
"""Times its threshold up to which a detector's statistic is drawn."""


class Clicks:
    """The share of slates that are answered to: a number, a curve, and what tells slates apart."""

    def __init__(self, visit: Visit) -> None:
        self.visit, self.window, self.by = visit, "hour", "all"
        self.day: dict[str, Any] | None = None
        self.week: dict[str, Any] | None = None

    def build(self) -> None:
        """The places, empty."""
        say = self.visit.say
        with card(say("clicks"), say("clicks.note")):
            with box("div", "rowed", role="group", aria_label=say("clicks.window")):
                self.buttons = {name: self._choice(name) for name in ("hour", "day")}
            self.plot = lines(say("clicks"), [], times=True, unit="%")
            self.choose = choice(say("clicks.by"), {name: say(f"clicks.by.{name}") for name in BY}, self.by)
            self.choose.on_value_change(self.visit.doing(self._changed))
            self.body = box("div", "stack")

    def _choice(self, name: str) -> Any:
        async def chosen() -> None:
            self.window = name
            self.draw()
            await self.compare()

        return button(self.visit.say(f"clicks.{name}"), self.visit.doing(chosen), "small")

    async def _changed(self) -> None:
        self.by = self.choose.value
        await self.compare()

    async def read(self, week: bool) -> None:
        """Ask for the last day, and with ``week`` for that as well."""
        self.day = await self.visit.api.get("/v1/traffic", window="hour", days=1)
        if week or self.week is None:
            self.week = await self.visit.api.get("/v1/traffic", window="day", days=7)
        self.draw()
        await self.compare()

    def draw(self) -> None:
        """The curve of the hours of the last day, or of the days of the week, with both ends of the interval."""
        say, found = self.visit.say, self.day if self.window == "hour" else self.week
        rows = found["rows"] if found else []
        for name, made in self.buttons.items():
            made.props["aria-pressed"] = str(name == self.window).lower()
            made.update()
        ends = [(row["since"], *(row["ci95"] or (None, None))) for row in rows]
        drawn = [
            Line(say("clicks.rate"), [(1000 * row["since"], _percent(row["rate"])) for row in rows]),
            Line(say("clicks.low"), [(1000 * at, _percent(low)) for at, low, _ in ends], dashed=True),
            Line(say("clicks.high"), [(1000 * at, _percent(high)) for at, _, high in ends], dashed=True),
        ]
        self.plot.options.update(options(say("clicks"), drawn, times=True, unit="%", zero=True))
        self.plot.update()

    async def compare(self) -> None:
        """The rate of each model, rung or arm, with its interval."""
        say, days = self.visit.say, 1 if self.window == "hour" else 7
        found = await self.visit.api.get("/v1/traffic", by=self.by, window=self.window, days=days)
        rows = sorted(found["totals"], key=lambda row: -row["slates"])[:12]
        self.body.clear()
        with self.body:
            if not rows:
                empty(say("clicks.none"), say("clicks.teach"))
                return
            columns = [say(f"clicks.{name}") for name in ("what", "users", "slates", "answered", "rate95")]
            told = [
                (name_of(row, say), f"{row['users']:,}", f"{row['slates']:,}", f"{row['answered']:,}", rate(row))
                for row in rows
            ]
            table(say("clicks"), columns, told, (1, 2, 3, 4))

    def tile(self) -> None:
        """The number of the last day."""
        say, total = self.visit.say, _total(self.day)
        if total is None:
            tile(say("overview.ctr"), "–", say("clicks.none"))
            return
        low, high = total["ci95"] or (None, None)
        ends = say("clicks.alone") if low is None else say("clicks.between", low=f"{low:.1%}", high=f"{high:.1%}")
        tile(say("overview.ctr"), f"{total['rate']:.1%}", ends)

    def alarms(self) -> list[Alarm]:
        """What is wrong with how slates are answered to."""
        return click_alarms(self.day, self.week)


class Drift:
    """What the latest look for drift found."""

    def __init__(self, visit: Visit) -> None:
        self.visit = visit
        self.found: dict[str, Any] | None = None

    def build(self) -> None:
        """The place, empty."""
        say = self.visit.say
        with card(say("drift"), say("drift.note")):
            self.body = box("div", "stack")

    async def read(self) -> None:
        """Ask for it; that nobody has looked is no error."""
        try:
            self.found = await self.visit.api.get("/v1/drift")
        except Unanswered as error:
            if error.status != 404:
                raise
            self.found = None
        self.body.clear()
        with self.body:
            self._draw()

    def _draw(self) -> None:
        say, found = self.visit.say, self.found
        if found is None:
            empty(say("drift.none"), say("drift.teach"), "genre worker RUN --every drift=1h")
            return
        with box("div", "rowed"):
            badge(*_verdict(found, say))
            normal = "store" if found["normal"] == "the store" else "run"
            told = say(f"drift.looked.{normal}", when=say.when(found["made"]), n=f"{found['events']:,}")
            words("span", told, "note")
        rows = sorted(found["rows"], key=lambda row: {True: 0, False: 1, None: 2}[row["alarm"]])
        columns = [say(f"drift.{name}") for name in ("what", "detector", "state", "number", "why")]
        table(say("drift"), columns, [self._row(row) for row in rows], (3,))
        known = [row for row in rows if row["alarm"] is not None and row["threshold"]]
        if known:
            words("p", say("drift.picture"), "note")
            drawn = [
                Measured(f"{watched(row, say)} ({row['detector']})", min(row["statistic"] / row["threshold"], MOST))
                for row in known
            ]
            picture(intervals([*drawn, Measured(say("drift.limit"), 1.0)], zero=True, names=170), say("drift.picture"))

    def _row(self, row: dict[str, Any]) -> list[Any]:
        say = self.visit.say
        tone = {True: "bad", False: "good", None: ""}[row["alarm"]]
        who = f" ({say.list(row['people'])})" if row.get("people") else ""
        return [
            watched(row, say),
            row["detector"],
            lambda: badge(say(f"drift.alarm.{row['alarm']}"), tone),
            _number(row),
            row["why"] + who,
        ]

    def alarms(self) -> list[Alarm]:
        """What drifts."""
        if self.found is None or not self.found["drifting"]:
            return []
        say = self.visit.say
        names = say.list([watched({"watched": name}, say) for name in self.found["drifting"]])
        return [Alarm("drift", "warn", {"what": names, "when": say.when(self.found["made"])})]


def click_alarms(day: Mapping[str, Any] | None, week: Mapping[str, Any] | None) -> list[Alarm]:
    """None of a day's many slates was answered to; or today's are less so than those of each of the days before."""
    total = _total(day)
    if total is None:
        return []
    if total["slates"] >= ENOUGH and not total["answered"]:
        return [Alarm("clicks_none", "bad", {"n": f"{total['slates']:,}"})]
    rows = [row for row in (week or {}).get("rows", []) if row["ci95"]]
    if len(rows) > DAYS and all(rows[-1]["ci95"][1] < row["ci95"][0] for row in rows[-1 - DAYS : -1]):
        now, before = rows[-1], rows[-2]
        return [Alarm("clicks_fell", "warn", {"now": f"{now['rate']:.1%}", "before": f"{before['rate']:.1%}"})]
    return []


def name_of(row: Mapping[str, Any], say: Speech) -> str:
    """What some slates have in common."""
    if row["arm"] is not None:
        return f"{row['experiment']}: {row['arm']}"
    if row["rung"] is not None:
        return say.known(f"rung.{row['rung']}") or row["rung"]
    return row["model"] or say("clicks.by.all")


def watched(row: Mapping[str, Any], say: Speech) -> str:
    """What is watched, in words; what this console does not know by its name."""
    return say.known(f"watched.{row['watched'].replace(' ', '_')}") or row["watched"]


def rate(row: Mapping[str, Any]) -> str:
    """A rate with its interval."""
    ends = f" ({row['ci95'][0]:.2%} – {row['ci95'][1]:.2%})" if row["ci95"] else ""
    return f"{row['rate']:.2%}{ends}"


def _total(found: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    rows: Iterable[Mapping[str, Any]] = found["totals"] if found else ()
    return next(iter(rows), None)


def _percent(share: float | None) -> float | None:
    return None if share is None else round(100 * share, 3)


def _number(row: Mapping[str, Any]) -> str:
    """What was found, and above what it would be an alarm; some detectors find changes, and have no number for both."""
    if row["statistic"] is None or not row["threshold"]:
        return "–"
    return f"{row['statistic']:.3g} / {row['threshold']:.3g}"


def _verdict(found: Mapping[str, Any], say: Speech) -> tuple[str, str]:
    if found["drifting"]:
        return say("drift.yes", n=len(found["drifting"])), "bad"
    known = any(row["alarm"] is not None for row in found["rows"])
    return (say("drift.no"), "good") if known else (say("drift.too_little"), "")
