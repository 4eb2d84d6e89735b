"""Asking for a slate as an application would: for a user, a history or a text; and what would change it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from fastapi import Request
from nicegui import ui

from genre.console.finding import Finding
from genre.console.frame import Visit
from genre.console.parts import box, button, card, choice, empty, picture, words
from genre.console.slateview import show_slate, show_state
from genre.console.tracepicture import drawn, spoken

LENGTHS = (5, 10, 20)
MOST = 50
"""Items of a history that can be taken out one by one: as many as the reasons look at."""


@dataclass
class Chosen:
    """An item of a history."""

    item_id: str
    title: str
    kept: bool = True


@dataclass
class Trial:
    """What is asked, and what was answered."""

    mode: str = "user"
    user_id: str = ""
    history: list[Chosen] = field(default_factory=list)
    """Oldest first."""
    text: str = ""
    k: int = 10
    reply: dict[str, Any] | None = None
    whole: dict[str, Any] | None = None
    """The slate of the whole history, beside which the changed one stands."""


async def trying(visit: Visit, request: Request) -> None:
    """The page; with ``?user=`` it begins with that user."""
    page = Trying(visit, Trial(user_id=request.query_params.get("user", "")))
    page.build()
    await page.finding.look()
    if page.trial.user_id:
        await visit.doing(page.ask)()


class Trying:
    """The parts of the page."""

    def __init__(self, visit: Visit, trial: Trial) -> None:
        self.visit, self.trial = visit, trial

    def build(self) -> None:
        """Who is asked for at the side, the answer in the middle."""
        say = self.visit.say
        with box("div", "asking"):
            with card(say("try.who"), classes="who"):
                with box("div", "rowed", role="group", aria_label=say("try.who")):
                    self.modes = {mode: self._mode(mode) for mode in ("user", "history", "text")}
                self.who = box("div", "stack")
                self.length = choice(say("try.k"), {k: str(k) for k in LENGTHS}, self.trial.k)
                with box("div", "rowed"):
                    button(say("try.go"), self.visit.doing(self.ask), "main")
            self.answer = box("div", "stack answer", aria_live="polite")
            self.what_if = box("div", "stack if")
        with self.answer, card(""):
            empty(say("try.nothing"), say("try.nothing.teach"))
        self._choose()

    def _mode(self, mode: str) -> ui.element:
        async def chosen() -> None:
            self.trial.mode, self.trial.reply, self.trial.whole = mode, None, None
            self.trial.history, self.trial.text = [], ""
            self.what_if.clear()
            self._choose()
            if mode != "text":
                await self.finding.look()

        return button(self.visit.say(f"try.{mode}"), chosen, "small")

    def _choose(self) -> None:
        """The fields of the mode."""
        say, trial = self.visit.say, self.trial
        for mode, made in self.modes.items():
            made.props["aria-pressed"] = str(mode == trial.mode).lower()
            made.update()
        self.who.clear()
        with self.who:
            if trial.mode == "user":
                self.finding = Finding(self.visit, "users", say("try.user.find"), self._take_user)
            elif trial.mode == "history":
                self.finding = Finding(self.visit, "items", say("try.item.find"), self._take_item)
                self.basket = box("div", "stack")
                self._show_basket()
            else:
                self.line = ui.textarea(label=say("try.text.label"), placeholder=say("try.text.example"))
                self.line.classes("field").props("outlined stack-label rows=4")

    async def _take_user(self, user_id: str, name: str) -> None:
        self.trial.user_id, self.trial.whole = user_id, None
        self.finding.line.value = user_id
        await self.visit.doing(self.ask)()

    async def _take_item(self, item_id: str, title: str) -> None:
        self.trial.history.append(Chosen(item_id, title))
        self._show_basket()

    def _show_basket(self) -> None:
        say, trial = self.visit.say, self.trial
        self.basket.clear()
        with self.basket:
            words("h3", say("try.basket"))
            if not trial.history:
                words("p", say("try.basket.empty"), "note")
            with box("ul", "list"):
                for one in trial.history:
                    self._in_basket(one)

    def _in_basket(self, one: Chosen) -> None:
        async def taken_out() -> None:
            self.trial.history.remove(one)
            self._show_basket()

        with box("li", "chip-row"):
            words("span", one.title or one.item_id, "chip-title")
            button("×", taken_out, "small quiet", aria_label=self.visit.say("try.take_out", item=one.title))

    async def ask(self) -> None:
        """Ask for the slate of who is chosen, and show it."""
        trial = self.trial
        trial.k, trial.whole = self.length.value, None
        body: dict[str, Any] = {}
        if trial.mode == "user":
            trial.user_id = trial.user_id or (self.finding.line.value or "").strip()
            if not trial.user_id:
                self.visit.tell(self.visit.say("try.no_user"), bad=True)
                return
            body = {"user_id": trial.user_id}
        elif trial.mode == "history":
            body = {"history": [one.item_id for one in trial.history]}
        else:
            trial.text = (self.line.value or "").strip()
            if not trial.text:
                self.visit.tell(self.visit.say("try.no_text"), bad=True)
                return
            body = {"text": trial.text}
        trial.reply = await self._slate(body)
        if trial.mode != "history":
            trial.history = _known(trial.reply)
        self._show()

    async def _slate(self, body: dict[str, Any]) -> dict[str, Any]:
        self.answer.clear()
        with self.answer, card(""):
            words("p", self.visit.say("try.asking"), "note", role="status")
        asked = {"k": self.trial.k, "explain": True, "trace": True, "language": self.visit.session.language}
        return await self.visit.api.post("/v1/recommend", {**body, **asked, "columns": ["title"]})

    async def ask_changed(self) -> None:
        """The slate without what was taken out of the history, beside the slate of all that is shown of it."""
        trial = self.trial
        if trial.whole is None:
            trial.whole = await self._slate(self._of([one.item_id for one in trial.history]))
        kept = [one.item_id for one in trial.history if one.kept]
        trial.reply = trial.whole if len(kept) == len(trial.history) else await self._slate(self._of(kept))
        self._show()

    def _of(self, history: list[str]) -> dict[str, Any]:
        """A request of a history, with what the person said."""
        return {"history": history, "text": self.trial.text} if self.trial.text else {"history": history}

    def _show(self) -> None:
        visit, trial = self.visit, self.trial
        say, reply = visit.say, trial.reply
        assert reply is not None
        self.answer.clear()
        with self.answer:
            changed = trial.whole is not None and reply is not trial.whole
            with card(say("try.changed") if changed else say("try.slate")):
                show_state(visit, reply)
                if reply["items"]:
                    show_slate(visit, reply, trial.whole if changed else None)
                else:
                    empty(say("try.no_items"), say("try.no_items.teach"))
            with card(say("try.trace"), say("try.trace.note")):
                picture(drawn(reply, say), spoken(reply, say))
        self._show_what_if()

    def _show_what_if(self) -> None:
        say, trial = self.visit.say, self.trial
        self.what_if.clear()
        if not trial.history:
            return
        with self.what_if, card(say("try.what_if"), say("try.what_if.note", n=len(trial.history))):
            with box("ul", "list scroll", tabindex="0", aria_label=say("try.what_if")):
                for one in reversed(trial.history[-MOST:]):
                    self._what_if(one)
            if any(not one.kept for one in trial.history):
                with box("div", "rowed"):
                    button(say("try.put_back"), self.visit.doing(self._all_back), "small")

    def _what_if(self, one: Chosen) -> None:
        say = self.visit.say

        async def changed() -> None:
            one.kept = not one.kept
            await self.ask_changed()

        with box("li", "chip-row" if one.kept else "chip-row gone"):
            words("span", one.title or one.item_id, "chip-title")
            name = say("try.take_out" if one.kept else "try.put_in", item=one.title or one.item_id)
            button("×" if one.kept else "+", self.visit.doing(changed), "small quiet", aria_label=name, title=name)

    async def _all_back(self) -> None:
        for one in self.trial.history:
            one.kept = True
        await self.ask_changed()


def _known(reply: dict[str, Any]) -> list[Chosen]:
    """The history that the reasons speak of, oldest first."""
    events = {
        one["age"]: Chosen(one["item_id"], one["title"])
        for item in reply["items"]
        if item["explanation"] is not None
        for one in item["explanation"]["carried"]
        if one["item_id"] is not None
    }
    return [events[age] for age in sorted(events, reverse=True)]
