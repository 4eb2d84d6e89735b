"""The frame of every page: who looks, where one is, the switches, and what went wrong in words."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fastapi import Request
from fastapi.responses import RedirectResponse, Response
from nicegui import app, ui

from genre.console.calling import Caller, Unanswered
from genre.console.parts import PREFIX, box, button, card, link, words
from genre.console.readings import Watcher
from genre.console.sessions import Session, Sessions
from genre.console.words import LANGUAGES, Speech

PAGES = {
    "overview": "/",
    "try": "/try",
    "items": "/items",
    "experiments": "/experiments",
    "models": "/models",
    "jobs": "/jobs",
    "settings": "/settings",
}
STYLE = Path(__file__).with_name("console.css")
LANG = {"en": "en", "zh": "zh-CN"}


@dataclass
class Visit:
    """One page as one browser sees it."""

    session: Session
    say: Speech
    api: Caller
    watcher: Watcher
    notices: ui.element | None = field(default=None, repr=False)

    def tell(self, title: str, *lines: str, bad: bool = False) -> None:
        """Say something at the edge of the page, until it is closed."""
        assert self.notices is not None
        with self.notices, box("div", "notice bad" if bad else "notice", role="alert" if bad else "status") as notice:
            words("p", title, "notice-title")
            for line in lines:
                words("p", line)

            async def close() -> None:
                notice.delete()

            with box("div", "rowed end"):
                button(self.say("close"), close, "small quiet")
        if not bad:
            with notice:
                ui.timer(6.0, lambda: None if notice.is_deleted else notice.delete(), once=True)

    def tell_error(self, error: Unanswered) -> None:
        """Say what the API refused, and what mends it."""
        title, lines = explained(error, self.say)
        self.tell(title, *lines, bad=True)

    def doing(self, act: Callable[[], Awaitable[Any]]) -> Callable[[], Awaitable[None]]:
        """The same act, with what the API refuses said in words."""

        async def done() -> None:
            try:
                await act()
            except Unanswered as error:
                self.tell_error(error)

        return done


def explained(error: Unanswered, say: Speech) -> tuple[str, list[str]]:
    """What went wrong as a title and lines: what was said, each mistake, and the mend that is known for the status."""
    title = say.known(f"problem.{error.status}") or say("problem.other", status=error.status)
    named = [say.of(f"mistake.{one.code}", one.values, one.mend) for one in error.mistakes]
    if any(now != one.mend for now, one in zip(named, error.mistakes, strict=True)):
        # Said in the reader's own words, instead of in those of the API.
        lines = [f"{one.field}: {now}" if one.field else now for now, one in zip(named, error.mistakes, strict=True)]
    else:
        lines = [refusal(error, say)] if error.detail else []
        lines += [
            f"{one.field}: {one.mend}" if one.field else one.mend
            for one in error.mistakes
            if one.mend not in error.detail
        ]
    mend = say.known(f"mend.{error.status}")
    return title, lines + ([mend] if mend else [])


def refusal(error: Unanswered, say: Speech) -> str:
    """What the API refused, by the name that it gives, else as it said it."""
    if error.code == "gate":
        why = gate_words(error.values.get("gate") or {}, say)
        return say("error.gate", name=error.values.get("name", ""), why=why) if why else error.detail
    return say.of(f"error.{error.code}", error.values, error.detail)


def gate_words(gate: Mapping[str, Any], say: Speech) -> str:
    """Why the gate lets a model pass, or does not, by its code; as the API says it where that has no words here."""
    values, otherwise = dict(gate.get("values") or {}), gate.get("why", "")
    if "test" in values:
        part = "" if values.get("slice") == "all" else say("gate.part", name=values.get("slice"))
        values["where"] = (say.known(f"gate.test.{values['test']}") or values["test"]) + part
    return say.of(f"gate.why.{gate.get('code', '')}", values, otherwise)


@dataclass
class Console:
    """What all pages share."""

    caller: Callable[[str | None, str | None], Caller]
    """The API for a key, and for what the browser calls this host."""
    sessions: Sessions = field(default_factory=Sessions)
    watcher: Watcher = field(default_factory=Watcher)

    def visit(self, request: Request) -> Visit:
        """The visit of a browser."""
        number = app.storage.browser["id"]
        session = self.sessions.get(number, request.headers.get("accept-language", ""))
        api = self.caller(session.key, request.headers.get("host"))
        return Visit(session, Speech(session.language), api, self.watcher)


Body = Callable[[Visit, Request], Awaitable[None]]


def register(console: Console, path: str, name: str, body: Body) -> None:
    """Make a page of a body: asked for a key where the API wants one, in the frame, its errors in words."""

    async def built(request: Request) -> Response | None:
        visit = console.visit(request)
        try:
            await visit.api.get("/v1/experiments")
        except Unanswered as error:
            if error.status == 401:
                return RedirectResponse(f"{PREFIX}/enter?to={name}", 303)
        with framed(visit, name):
            try:
                await body(visit, request)
            except Unanswered as error:
                show_error(error, visit.say)
        return None

    ui.page(path, title="GENRE", response_timeout=60.0)(built)


def show_error(error: Unanswered, say: Speech) -> None:
    """What went wrong, in the place of what could not be shown."""
    title, lines = explained(error, say)
    with box("div", "alarm bad", role="alert"):
        words("strong", title)
        for line in lines:
            words("span", line)


def dress(visit: Visit) -> None:
    """Language, colours and style of a page."""
    ui.add_head_html(f'<script>document.documentElement.lang="{LANG[visit.session.language]}"</script>')
    ui.add_css(STYLE)
    ui.dark_mode(visit.session.dark)


@contextmanager
def framed(visit: Visit, name: str) -> Iterator[None]:
    """The frame of a page; what is built within goes into its middle."""
    say = visit.say
    dress(visit)
    ui.page_title(f"{say(f'page.{name}')} · GENRE")
    with box("div", "desk"):
        with box("header", "top"), box("details"):
            with box("summary"):
                words("span", f"GENRE · {say(f'page.{name}')}")
            _navigation(visit, name, say("menu"))
            _switches(visit)
        with box("div", "side"):
            words("span", "GENRE", "brand")
            _navigation(visit, name, say("pages"))
            _switches(visit)
        middle = box("div", "middle", tabindex="-1")
        visit.notices = box("div", "notices", aria_live="polite")
    ui.skip_link(say("skip"), target=middle)
    with middle:
        words("h1", say(f"page.{name}"))
        words("p", say(f"lead.{name}"), "lead")
        with box("div", "stack"):
            yield


def _navigation(visit: Visit, name: str, label: str) -> None:
    with box("nav", "nav", aria_label=label):
        for page, path in PAGES.items():
            here = {"aria_current": "page"} if page == name else {}
            link(visit.say(f"page.{page}"), path, **here)


def _switches(visit: Visit) -> None:
    say, session = visit.say, visit.session

    async def other_language() -> None:
        session.language = next(one for one in LANGUAGES if one != session.language)
        ui.navigate.reload()

    async def other_colours() -> None:
        session.dark = {None: True, True: False, False: None}[session.dark]
        ui.navigate.reload()

    async def leave() -> None:
        session.key = None
        ui.navigate.to("/enter")

    with box("div", "switches"):
        other = next(one for one in LANGUAGES if one != session.language)
        button(say(f"language.{other}"), other_language, "quiet small", lang=LANG[other])
        button(say(f"colours.{session.dark}"), other_colours, "quiet small")
        if session.key is not None:
            button(say("leave"), leave, "quiet small")


def key_page(console: Console) -> None:
    """The page that asks for a key, which goes to the console's memory and nowhere else."""

    @ui.page("/enter", title="GENRE", response_timeout=60.0)
    async def enter(request: Request, to: str = "overview") -> None:
        visit = console.visit(request)
        say = visit.say
        dress(visit)
        ui.page_title(f"{say('enter.title')} · GENRE")
        visit.notices = box("div", "notices", aria_live="polite")
        with box("div", "enter"):
            words("h1", say("enter.title"))
            words("p", say("enter.note"), "note")
            with card(""):
                given = ui.input(label=say("enter.key")).classes("field")
                given.props("type=password autocomplete=off outlined stack-label name=key")

                async def come_in() -> None:
                    token, given.value = (given.value or "").strip(), ""
                    tried = console.caller(token, visit.api.host)
                    await tried.get("/v1/experiments")
                    visit.session.key = token
                    ui.navigate.to(PAGES.get(to, "/"))

                act = visit.doing(come_in)
                given.on("keydown.enter", act, [])
                with box("div", "rowed"):
                    button(say("enter.go"), act, "main")
            words("code", "genre store key add RUN NAME --scope admin")
            _switches(visit)
