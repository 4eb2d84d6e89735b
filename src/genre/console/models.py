"""Models: which there are, what was measured of each, and which answers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import Request

from genre.console.calling import Unanswered
from genre.console.dialogs import ask
from genre.console.evaluation import Evaluation
from genre.console.frame import Visit, gate_words, refusal
from genre.console.parts import badge, box, button, card, empty, link, table, words

TONES = {"active": "good", "failed": "bad", "loaded": "accent", "previous": "accent"}
GATES = {True: "good", False: "bad", None: ""}
FIRST = 4
"""Measures that the list shows of each model."""


async def models(visit: Visit, request: Request) -> None:
    """All models."""
    page = Models(visit)
    page.build()
    await page.look()


class Models:
    """The list."""

    def __init__(self, visit: Visit) -> None:
        self.visit = visit

    def build(self) -> None:
        """The place of the list."""
        self.list = box("div", "stack")

    async def look(self) -> None:
        """Read the models, and show them; the one that answers first."""
        say = self.visit.say
        rows = (await self.visit.api.get("/v1/models"))["rows"]
        order = ("active", "loaded", "previous", "available", "failed")
        rows.sort(key=lambda one: (order.index(one["state"]), one["name"]))
        can_go_back = any(one["state"] == "previous" for one in rows)
        self.list.clear()
        with self.list:
            for one in rows:
                self._one(one, can_go_back)
            if len(rows) == 1:
                with card(""):
                    empty(say("models.alone"), say("models.alone.teach"), "genre run CONFIG name=another")

    def _one(self, one: dict[str, Any], can_go_back: bool) -> None:
        with card(one["name"]):
            show_facts(self.visit, one)
            show_metrics(self.visit, one, FIRST)
            with box("div", "rowed"):
                link(
                    self.visit.say("models.more"),
                    f"/models/{one['name']}",
                    "button",
                    aria_label=self.visit.say("models.more.of", name=one["name"]),
                )
                Actions(self.visit, one, self.look).build(can_go_back)


def show_facts(visit: Visit, one: dict[str, Any]) -> None:
    """State and gate of a model."""
    say, gate = visit.say, one["gate"]
    with box("div", "rowed"):
        badge(say(f"model.{one['state']}"), TONES.get(one["state"], ""))
        if one["version"]:
            words("code", one["version"])
        badge(say(f"gate.{gate['passed']}"), GATES[gate["passed"]])
    words("p", gate_words(gate, say), "note")
    if one["problem"]:
        with box("div", "alarm bad"):
            words("strong", say("models.problem"))
            words("span", one["problem"])


def show_metrics(visit: Visit, one: dict[str, Any], most: int | None = None) -> None:
    """The first measures of a model, each with its interval beside the best baseline's."""
    say = visit.say
    found = [(name, m) for name, m in one["metrics"].items() if m["value"] is not None and m["baseline"]][:most]
    if not found:
        return
    rows = [
        (
            name,
            f"{m['value']:.4f}",
            _interval(m["ci95"]),
            f"{m['baseline_value']:.4f}" if m["baseline_value"] else "–",
            m["baseline"],
        )
        for name, m in found
    ]
    columns = [say(f"metric.{name}") for name in ("measure", "value", "interval", "baseline_value", "baseline")]
    table(say("models.metrics", name=one["name"]), columns, rows, (1, 2, 3))


def _interval(ci: list[float] | None) -> str:
    return "–" if not ci else f"{ci[0]:.4f} – {ci[1]:.4f}"


class Actions:
    """What can be done with a model."""

    def __init__(self, visit: Visit, one: dict[str, Any], after: Callable[[], Awaitable[Any]]) -> None:
        self.visit, self.one, self.after = visit, one, after

    def build(self, can_go_back: bool) -> None:
        """The buttons that its state allows."""
        say, name, state = self.visit.say, self.one["name"], self.one["state"]
        doing = self.visit.doing
        if state in ("available", "failed"):
            button(say("models.load"), doing(self._load), "main", aria_label=say("models.load.this", name=name))
        if state == "loaded":
            button(
                say("models.activate"), doing(self._activate), "main", aria_label=say("models.activate.this", name=name)
            )
            button(say("models.unload"), doing(self._unload), aria_label=say("models.unload.this", name=name))
        if state == "active" and can_go_back:
            button(say("models.back"), self._back, "danger")

    async def _did(self, told: str, made: dict[str, Any] | None = None) -> None:
        self.visit.tell(self.visit.say(told, name=made["name"] if made else self.one["name"]))
        await self.after()

    async def _load(self) -> None:
        self.visit.tell(self.visit.say("models.loading", name=self.one["name"]))
        try:
            await self.visit.api.post(f"/v1/models/{self.one['name']}/load")
        except Unanswered:
            await self.after()
            raise
        await self._did("done.load")

    async def _activate(self) -> None:
        say, name = self.visit.say, self.one["name"]
        try:
            await self.visit.api.post(f"/v1/models/{name}/activate", {"even_if_worse": False})
        except Unanswered as error:
            if error.status != 409 or self.one["gate"]["passed"] is not False:
                raise

            async def anyway(why: str) -> None:
                await self.visit.api.post(f"/v1/models/{name}/activate", {"even_if_worse": True})
                await self._did("done.activate")

            title, note = say("models.worse", name=name), refusal(error, say)
            ask(self.visit, title, say("models.anyway"), anyway, note=note, danger=True)
            return
        await self._did("done.activate")

    async def _unload(self) -> None:
        await self.visit.api.post(f"/v1/models/{self.one['name']}/unload")
        await self._did("done.unload")

    async def _back(self) -> None:
        say = self.visit.say

        async def done(why: str) -> None:
            made = await self.visit.api.post("/v1/rollback")
            await self._did("done.back", made)

        ask(self.visit, say("models.back.title"), say("models.back"), done, note=say("models.back.note"), danger=True)


async def model(visit: Visit, request: Request) -> None:
    """One model in full."""
    name, say, api = request.path_params["name"], visit.say, visit.api
    one = await api.get(f"/v1/models/{name}")
    rows = (await api.get("/v1/models"))["rows"]
    link(say("models.all"), "/models")
    with card(name):
        show_facts(visit, one)

        async def again() -> None:
            from nicegui import ui

            ui.navigate.reload()

        with box("div", "rowed"):
            Actions(visit, one, again).build(any(other["state"] == "previous" for other in rows))
    try:
        found = await api.get(f"/v1/models/{name}/evaluation")
    except Unanswered as error:
        if error.status != 404:
            raise
        with card(say("models.metrics", name=name)):
            show_metrics(visit, one)
            empty(say("evaluation.none"), say("evaluation.none.teach"), f"genre evaluate runs/{name}")
        return
    Evaluation(visit, name, found["metrics"], found["curves"]).build()
