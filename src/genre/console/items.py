"""Items, and what moderation decides of them: hidden, pinned, blocked by rule, waiting to be looked at."""

from __future__ import annotations

import time
from typing import Any

from fastapi import Request

from genre.console.dialogs import ask
from genre.console.finding import Finding, named
from genre.console.frame import Visit
from genre.console.parts import badge, box, button, card, choice, empty, field, table, words

DAYS = (0, 1, 7, 30)


async def items(visit: Visit, request: Request) -> None:
    """Search and one item at the side; rules, decisions and the queue in the middle."""
    page = Items(visit)
    page.build()
    await page.finding.look()
    await page.look()


class Items:
    """The parts of the page."""

    def __init__(self, visit: Visit) -> None:
        self.visit = visit
        self.item: dict[str, Any] | None = None

    def build(self) -> None:
        """The places."""
        say = self.visit.say
        with box("div", "columns"):
            with box("div", "stack"):
                with card(say("items.find")):
                    self.finding = Finding(self.visit, "items", say("items.find.label"), self._take)
                with card(say("items.rule"), say("items.rule.note")):
                    self.column = field(say("items.rule.column"), placeholder="categories")
                    self.values = field(say("items.rule.values"), placeholder="Horror, War")
                    with box("div", "rowed"):
                        button(say("items.rule.go"), self.visit.doing(self._block), "danger")
            with box("div", "stack"):
                self.one = box("div", "stack", aria_live="polite")
                self.queue = card(say("items.queue"), say("items.queue.note"))
                self.standing = card(say("items.standing"), say("items.standing.note"))
                self.past = card(say("items.past"))
        self.bodies: dict[Any, Any] = {}

    async def _take(self, item_id: str, name: str) -> None:
        await self.visit.doing(lambda: self._show(item_id))()

    async def _show(self, item_id: str) -> None:
        self.item = await self.visit.api.get(f"/v1/items/{item_id}")
        say, item = self.visit.say, self.item
        assert item is not None
        self.one.clear()
        with self.one, card(named(item) or item["id"]):
            with box("div", "rowed"):
                words("code", item["id"])
                badge(
                    say("item.refused") if item["refused"] else say("item.shown"), "bad" if item["refused"] else "good"
                )
                badge(
                    say("item.servable") if item["servable"] else say("item.unservable"),
                    "" if item["servable"] else "warn",
                )
                badge(say(f"item.from.{item['origin']}"))
            if not item["servable"]:
                words("p", say("item.unservable.mend"), "note")
            rows = [(name, _plain(value)) for name, value in item["columns"].items()]
            table(say("item.columns"), [say("item.column"), say("item.value")], rows)
            self._actions(item)
            if item["servable"]:
                await self._similar(item_id)

    def _actions(self, item: dict[str, Any]) -> None:
        say, api = self.visit.say, self.visit.api
        until = choice(say("items.until"), {n: say("items.days", n=n) if n else say("items.forever") for n in DAYS}, 0)

        def decide(verdict: str) -> Any:
            async def asked() -> None:
                async def done(why: str) -> None:
                    body: dict[str, Any] = {"verdict": verdict, "item_id": item["id"], "why": why}
                    if until.value:
                        body["until"] = time.time() + 86400.0 * until.value
                    await api.post("/v1/moderation/decisions", body)
                    self.visit.tell(say(f"done.{verdict}", item=named(item)))
                    await self._again()

                title = say(f"items.{verdict}.title", item=named(item) or item["id"])
                ask(
                    self.visit,
                    title,
                    say(f"items.{verdict}"),
                    done,
                    note=say(f"items.{verdict}.note"),
                    reason=say("why"),
                    danger=verdict != "pin",
                )

            return asked

        async def report() -> None:
            async def done(why: str) -> None:
                await api.post("/v1/moderation/reviews", {"item_id": item["id"], "why": why})
                self.visit.tell(say("done.report"))
                await self.look()

            ask(
                self.visit,
                say("items.report.title", item=named(item)),
                say("items.report"),
                done,
                note=say("items.report.note"),
                reason=say("why"),
            )

        with box("div", "rowed"):
            button(say("items.hide"), decide("hide"), "danger")
            button(say("items.pin"), decide("pin"))
            button(say("items.block"), decide("block"), "danger")
            button(say("items.report"), report)

    async def _similar(self, item_id: str) -> None:
        say, api = self.visit.say, self.visit.api
        found = await api.get(f"/v1/items/{item_id}/similar", k=5)
        rows = []
        for one in found["items"]:
            entry = await api.get(f"/v1/items/{one['item_id']}")
            rows.append((named(entry) or one["item_id"], f"{one['score']:.3f}"))
        words("h3", say("item.similar"))
        if rows:
            table(say("item.similar"), [say("item.title"), say("item.score")], rows, (1,))

    async def _block(self) -> None:
        say = self.visit.say
        column = (self.column.value or "").strip()
        values = [value.strip() for value in (self.values.value or "").split(",") if value.strip()]
        if not column or not values:
            self.visit.tell(say("items.rule.empty"), bad=True)
            return

        async def done(why: str) -> None:
            body = {"verdict": "block", "rule": {column: values}, "why": why}
            await self.visit.api.post("/v1/moderation/decisions", body)
            self.visit.tell(say("done.rule", column=column, values=say.list(values)))
            self.column.value = self.values.value = ""
            await self._again()

        title = say("items.rule.title", column=column, values=say.list(values))
        ask(self.visit, title, say("items.rule.go"), done, note=say("items.rule.ask"), reason=say("why"), danger=True)

    async def _again(self) -> None:
        if self.item is not None:
            await self._show(self.item["id"])
        await self.look()

    async def look(self) -> None:
        """Read the decisions and the queue, and show them."""
        api = self.visit.api
        standing = (await api.get("/v1/moderation/decisions", standing=True))["rows"]
        past = (await api.get("/v1/moderation/decisions", limit=50))["rows"]
        reviews = (await api.get("/v1/moderation/reviews", limit=50))["rows"]
        self._reviews(reviews)
        self._decisions(standing)
        self._history([one for one in past if one["released"] is not None or _over(one)])

    def _body(self, place: Any) -> Any:
        if (old := self.bodies.get(id(place))) is not None:
            old.delete()
        with place:
            self.bodies[id(place)] = box("div", "stack")
        return self.bodies[id(place)]

    def _reviews(self, rows: list[dict[str, Any]]) -> None:
        say = self.visit.say
        with self._body(self.queue):
            if not rows:
                empty(say("items.queue.none"), say("items.queue.teach"))
                return
            columns = [say(f"review.{name}") for name in ("item", "why", "who", "when", "do")]
            table(say("items.queue"), columns, [self._review(one) for one in rows])

    def _review(self, one: dict[str, Any]) -> list[Any]:
        say = self.visit.say
        return [
            lambda: self._item(one["item_id"]),
            one["why"],
            one["who"],
            say.when(one["time"]),
            lambda: self._resolve(one),
        ]

    def _resolve(self, one: dict[str, Any]) -> None:
        say = self.visit.say

        async def asked() -> None:
            async def done(outcome: str) -> None:
                await self.visit.api.post(f"/v1/moderation/reviews/{one['number']}/resolve", {"outcome": outcome})
                self.visit.tell(say("done.resolve"))
                await self.look()

            ask(
                self.visit,
                say("review.resolve.title", item=one["item_id"]),
                say("review.resolve"),
                done,
                note=say("review.resolve.note"),
                reason=say("review.outcome"),
            )

        button(say("review.resolve"), asked, "small", aria_label=say("review.resolve.title", item=one["item_id"]))

    def _item(self, item_id: str) -> None:
        async def taken() -> None:
            await self._show(item_id)

        button(item_id, self.visit.doing(taken), "small quiet", aria_label=self.visit.say("items.see", item=item_id))

    def _decisions(self, rows: list[dict[str, Any]]) -> None:
        say = self.visit.say
        with self._body(self.standing):
            if not rows:
                empty(say("items.standing.none"), say("items.standing.teach"))
                return
            columns = [say(f"decision.{name}") for name in ("what", "of", "why", "who", "when", "until", "do")]
            table(say("items.standing"), columns, [self._decision(one) for one in rows])

    def _decision(self, one: dict[str, Any]) -> list[Any]:
        say = self.visit.say
        return [
            lambda: badge(say(f"verdict.{one['verdict']}"), "accent" if one["verdict"] == "pin" else "bad"),
            _of(one),
            one["why"],
            one["who"],
            say.when(one["time"]),
            say("items.forever") if one["until"] is None else say.when(one["until"]),
            lambda: self._release(one),
        ]

    def _release(self, one: dict[str, Any]) -> None:
        say = self.visit.say

        async def asked() -> None:
            async def done(why: str) -> None:
                await self.visit.api.post(f"/v1/moderation/decisions/{one['number']}/release", {"why": why})
                self.visit.tell(say("done.release"))
                await self._again()

            ask(
                self.visit, say("decision.release.title", of=_of(one)), say("decision.release"), done, reason=say("why")
            )

        button(say("decision.release"), asked, "small", aria_label=say("decision.release.title", of=_of(one)))

    def _history(self, rows: list[dict[str, Any]]) -> None:
        say = self.visit.say
        with self._body(self.past):
            if not rows:
                words("p", say("items.past.none"), "note")
                return
            columns = [
                say(f"decision.{name}") for name in ("what", "of", "why", "who", "ended", "ended_by", "ended_why")
            ]
            table(
                say("items.past"),
                columns,
                [
                    [
                        say(f"verdict.{one['verdict']}"),
                        _of(one),
                        one["why"],
                        one["who"],
                        say.when(one["released"] or one["until"]),
                        one["released_by"] or say("decision.ran_out"),
                        one["released_why"] or "–",
                    ]
                    for one in rows
                ],
            )


def _of(one: dict[str, Any]) -> str:
    """What a decision is of."""
    if one["item_id"] is not None:
        return one["item_id"]
    return "; ".join(f"{column}: {', '.join(map(str, values))}" for column, values in (one["rule"] or {}).items())


def _over(one: dict[str, Any]) -> bool:
    return one["until"] is not None and one["until"] < time.time()


def _plain(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
