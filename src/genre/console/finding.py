"""Looking something up by its words, and taking one of what is found."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Literal

from nicegui import ui
from nicegui.events import GenericEventArguments

from genre.console.calling import Unanswered
from genre.console.frame import Visit
from genre.console.parts import box, empty, words

Table = Literal["items", "users"]
SHOWN = 6
# A row may be replaced by the next answer between pressing and letting go, and is then not clicked: what is pressed
# counts. A click without a button (`detail` is 0) comes from the keyboard or a reader of screens.
PRESSED = """(event) => {
    const row = event.target.closest('[data-id]'), by_mouse = event.type === 'mousedown';
    if (row && (by_mouse ? event.button === 0 : event.detail === 0)) emit(row.dataset.id);
}"""
TYPED = "(event) => emit(event.target.value)"
"""What stands in the line when Enter is pressed, which the pause may still keep from the server."""
PAUSE = 300
"""Milliseconds without a key pressed, after which is looked."""
Take = Callable[[str, str], Awaitable[None]]
"""Given the id and the name of what was taken."""


def named(row: dict[str, Any]) -> str:
    """What an item or user is called: its title, else what is known of it in short."""
    columns = row["columns"]
    if title := columns.get("title"):
        return str(title)
    known = [f"{name} {value}" for name, value in columns.items() if isinstance(value, str | int | float)]
    return ", ".join(known[:3])


class Finding:
    """A line to write in, and below it what is found."""

    def __init__(self, visit: Visit, what: Table, label: str, take: Take) -> None:
        self.visit, self.what, self.take = visit, what, take
        self.line = ui.input(label=label).classes("field")
        self.line.props(f"outlined dense stack-label debounce={PAUSE} autocomplete=off clearable")
        self.line.props["clear-icon"] = "close"
        self.line.on_value_change(self.look)
        self.line.on("keydown.enter", self._entered, js_handler=TYPED)
        self.found = box("div", "stack", aria_live="polite")
        for event in ("mousedown", "click"):
            self.found.on(event, self._pressed, js_handler=PRESSED)
        self.names: dict[str, str] = {}
        self.rows: list[dict[str, Any]] = []

    async def look(self) -> None:
        """Ask the API for what the words are of, and show it; an id that is written out is found in the model too."""
        api, wanted = self.visit.api, (self.line.value or "").strip()
        try:
            page = await api.get(f"/v1/{self.what}", search=wanted or None, limit=SHOWN)
            self.rows = page["rows"]
            if wanted and not any(row["id"] == wanted for row in self.rows):
                self.rows = [*await self._by_id(wanted), *self.rows][:SHOWN]
        except Unanswered as error:
            self.visit.tell_error(error)
            return
        self._show(wanted)

    async def _by_id(self, wanted: str) -> list[dict[str, Any]]:
        if "/" in wanted:
            return []
        try:
            return [await self.visit.api.get(f"/v1/{self.what}/{wanted}")]
        except Unanswered as error:
            if error.status in (404, 422):
                return []
            raise

    async def _entered(self, event: GenericEventArguments) -> None:
        """Take the first of what is found."""
        self.line.value = event.args
        await self.look()
        if self.rows and self.line.value:
            await self.take(self.rows[0]["id"], named(self.rows[0]))

    def _show(self, wanted: str) -> None:
        say = self.visit.say
        self.found.clear()
        with self.found:
            if not self.rows and wanted:
                words("p", say("find.nothing", words=wanted), "note")
            elif not self.rows:
                empty(say(f"find.no_{self.what}"), say("find.teach"), "genre store import RUN")
            else:
                with box("ul", "list", aria_label=say("find.found")):
                    for row in self.rows:
                        self._row(row)

    def _row(self, row: dict[str, Any]) -> None:
        self.names[row["id"]] = named(row)
        with box("li"), box("button", "button pick", type="button", data_id=row["id"]):
            words("span", named(row) or row["id"])
            words("small", row["id"])

    async def _pressed(self, event: GenericEventArguments) -> None:
        if event.args in self.names:
            await self.take(event.args, self.names[event.args])
