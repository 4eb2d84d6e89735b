"""The form that puts in a job: the settings of its kind, as the API describes them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from nicegui import ui

from genre.console.frame import Visit
from genre.console.parts import box, button, card, choice, field, words


class JobForm:
    """One part of the page Jobs."""

    def __init__(self, visit: Visit, after: Callable[[], Awaitable[Any]]) -> None:
        self.visit, self.after = visit, after
        self.kinds: dict[str, dict[str, Any]] = {}
        self.fields: dict[str, Any] = {}

    async def build(self) -> None:
        """The kinds, and the settings of the first."""
        say = self.visit.say
        rows = (await self.visit.api.get("/v1/jobs/kinds"))["rows"]
        self.kinds = {one["kind"]: one for one in rows}
        with card(say("jobs.new"), say("jobs.new.note")):
            told = {kind: say.known(f"jobs.does.{kind}") or one["what"] for kind, one in self.kinds.items()}
            names = {kind: f"{kind}: {what}" for kind, what in told.items()}
            self.kind = choice(say("jobs.kind"), names, next(iter(names)))
            self.kind.on_value_change(self._settings)
            self.place = box("div", "stack")
            with box("div", "rowed"):
                button(say("jobs.put"), self.visit.doing(self._put), "main")
        self._settings()

    def _settings(self) -> None:
        """The fields of the kind that is chosen, empty: what is left so is as it stands by itself."""
        say = self.visit.say
        self.place.clear()
        self.fields = {}
        with self.place:
            for one in self.kinds[self.kind.value]["settings"]:
                self.fields[one["name"]] = self._field(one)
            if not self.fields:
                words("p", say("jobs.no_settings"), "note")

    def _field(self, one: dict[str, Any]) -> Any:
        say, name = self.visit.say, one["name"]
        what = say.known(f"jobs.setting.{name}") or one["what"]
        if one["kind"] == "switch":
            made = ui.checkbox(name)
            words("p", what, "note")
            return made
        without = say("jobs.needed") if one["needed"] else ""
        default = say("jobs.default", value=one["default"]) if one["default"].isdigit() else without
        return field(name, note=f"{what} {default}".strip())

    async def _put(self) -> None:
        kinds = {one["name"]: one["kind"] for one in self.kinds[self.kind.value]["settings"]}
        given = {name: read(kinds[name], made.value) for name, made in self.fields.items()}
        payload = {name: value for name, value in given.items() if value is not None and value is not False}
        made = await self.visit.api.post("/v1/jobs", {"kind": self.kind.value, "payload": payload})
        self.visit.tell(self.visit.say("done.job", n=made["number"], kind=made["kind"]))
        self._settings()
        await self.after()


def read(kind: str, value: Any) -> Any:
    """What was filled in as the API takes it; None for nothing. What is no number stays as it is: the API says so."""
    if kind == "switch":
        return bool(value)
    text = (value or "").strip()
    if not text:
        return None
    if kind == "names":
        return [one.strip() for one in text.replace("，", ",").split(",") if one.strip()]
    for number in {"count": (int,), "number": (int, float)}.get(kind, ()):
        try:
            return number(text)
        except ValueError:
            continue
    return text
