"""Searches of settings: how far each is, and how good its best trial so far."""

from __future__ import annotations

import contextlib
from typing import Any

from nicegui import ui

from genre.console.calling import Unanswered
from genre.console.charts import Line, lines
from genre.console.frame import Visit
from genre.console.parts import badge, box, button, card, empty, table, words

EVERY = 5.0
"""Seconds between two readings while the page is open."""


class Searches:
    """The card of all searches beside the served run."""

    def __init__(self, visit: Visit) -> None:
        self.visit = visit
        self.seen: list[dict[str, Any]] | None = None

    async def build(self) -> None:
        """The place, filled, and filled again while the page is open."""
        say = self.visit.say
        with card(say("searches"), say("searches.note")):
            self.body = box("div", "stack")
            with box("div", "rowed"):
                button(say("searches.again"), self.visit.doing(self.look), "quiet")
        await self.look()
        ui.timer(EVERY, self._again, immediate=False)

    async def _again(self) -> None:
        # A service that does not answer for a while is no reason to take away what was read.
        with contextlib.suppress(Unanswered):
            await self.look()

    async def look(self) -> None:
        """Read all searches; drawn anew only where something has changed, so that nobody is disturbed in reading."""
        rows = (await self.visit.api.get("/v1/searches"))["rows"]
        if rows == self.seen:
            return
        self.seen = rows
        self.body.clear()
        with self.body:
            if not rows:
                empty(self.visit.say("searches.none"), self.visit.say("searches.teach"))
            for one in rows:
                self._one(one)

    def _one(self, one: dict[str, Any]) -> None:
        say = self.visit.say
        stopped = one["doing"] != "ended" and not one["alive"]
        with box("div", "stack", role="group", aria_label=one["run"]):
            words("h3", one["run"])
            with box("div", "rowed"):
                badge(say(f"searches.{'stopped' if stopped else one['doing']}"), "warn" if stopped else "good")
                words("span", self._progress(one))
            if len(one["best_so_far"]) > 1:
                first = next(iter(one["objectives"]))
                drawn = [Line(first, [(str(at), value) for at, value in one["best_so_far"]])]
                lines(say("searches.best_so_far", run=one["run"], objective=first), drawn, zero=False)
            if one["best"] is not None:
                self._best(one["best"])

    def _progress(self, one: dict[str, Any]) -> str:
        say = self.visit.say
        names = ("done", "budget", "pruned", "failed", "running", "left")
        said = say("searches.progress", **{name: one[name] for name in names})
        if one["alive"] and one["seconds_left"] is not None:
            return f"{said} {say('searches.time', span=say.span(one['seconds_left']))}"
        return said

    def _best(self, best: dict[str, Any]) -> None:
        say = self.visit.say
        values = [(name, f"{value:.4g}") for name, value in best["values"].items()]
        chosen = [(name, f"{v:.4g}" if isinstance(v, float) else str(v)) for name, v in best["chosen"].items()]
        columns = [say("searches.what"), say("searches.value")]
        words("p", say("searches.best", n=best["number"]), "note")
        table(say("searches.best", n=best["number"]), columns, [*values, *chosen], (1,))
