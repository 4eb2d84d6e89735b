"""The configuration of the model that answers, as a form; what is changed becomes the command of the next run."""

from __future__ import annotations

import shlex
from typing import Any

import yaml
from fastapi import Request
from nicegui import ui

from genre.console.frame import Visit
from genre.console.parts import badge, box, button, card, empty, link, words
from genre.console.schemaform import Field, Form, changed, complete, override, problems


async def settings(visit: Visit, request: Request) -> None:
    """One section of the configuration; ``?section=train`` says which."""
    ready = await visit.api.get("/v1/health/ready")
    found = await visit.api.get(f"/v1/models/{ready['model']}/config")
    from genre.configfile import schema

    page = Settings(
        visit, ready["model"], Form(schema(), complete(found["config"])), request.query_params.get("section", "serve")
    )
    page.build()


class Settings:
    """The form of one section."""

    def __init__(self, visit: Visit, model: str, form: Form, section: str) -> None:
        self.visit, self.model, self.form = visit, model, form
        self.draft = visit.session.draft
        self.form.values = changed(form.values, self.draft)
        self.given = form.values
        self.section = section if section in form.sections() else ""

    def build(self) -> None:
        """The sections to choose from, the fields, and what was changed."""
        say = self.visit.say
        with box("nav", "rowed", aria_label=say("settings.sections")):
            for name in self.form.sections():
                here = {"aria_current": "page", "aria_pressed": "true"} if name == self.section else {}
                link(name or say("settings.general"), f"/settings?section={name}", "button small", **here)
        self.result = card(say("settings.changed"), say("settings.changed.note"))
        self.body = None
        self._result()
        title = self.section or say("settings.general")
        with card(title, plain(self.form.about(self.section))):
            if self.section == "serve":
                badge(say("settings.serve"), "warn")
            with box("div"):
                for one in self.form.fields(self.section):
                    self._field(one)

    def _field(self, one: Field) -> None:
        if one.kind == "group":
            with box("details", open="open") if len(one.path) <= 2 else box("details"):
                words("summary", one.name)
                if one.help:
                    words("p", plain(one.help), "note")
                with box("div", "inner"):
                    for inside in self.form.inside(one):
                        self._field(inside)
            return
        with box("div", "setting"):
            with box("div"):
                words("div", one.name, "setting-name")
            with box("div"):
                self._control(one)
            if one.help:
                words("div", plain(one.help), "note")

    def _control(self, one: Field) -> None:
        say, label = self.visit.say, ".".join(str(step) for step in one.path)
        made: Any
        if one.kind == "switch":
            made = ui.switch(value=bool(one.value))
        elif one.kind == "choice":
            options = {name: name for name in one.options}
            if one.empty:
                options[""] = say("settings.nothing")
            shown = one.value if one.value in options else next(iter(options))
            made = ui.select(options, value=shown).classes("field").props("outlined dense options-dense")
        else:
            written = _written(one.value)
            lines = one.kind == "yaml" and ("\n" in written or len(written) > 60)
            made = ui.textarea(value=written) if lines else ui.input(value=written)
            made.classes("field").props("outlined dense autogrow" if lines else "outlined dense")
        made.props["aria-label"] = label
        if one.fixed:
            made.props["disable"] = True
            made.update()
            return
        made.on_value_change(lambda event: self._change(one, event.value))

    def _change(self, one: Field, given: Any) -> None:
        value = read(one, given)
        if value == one.value and one.path in self.draft:
            del self.draft[one.path]
        elif one.kind == "choice" and one.path[-1] == "type":
            self.draft[one.path[:-1]] = {"type": value}
        else:
            self.draft[one.path] = value
        self._result()

    def _result(self) -> None:
        say, draft = self.visit.say, self.draft
        if self.body is not None:
            self.body.delete()
        with self.result:
            self.body = box("div", "stack", aria_live="polite")
        with self.body:
            if not draft:
                empty(say("settings.none"), say("settings.teach"))
                return
            wrong = problems(changed(self.given, draft))
            for line in wrong:
                with box("div", "alarm bad"):
                    words("span", line)
            if not wrong:
                with box("div", "alarm good"):
                    words("strong", say("settings.good"))
            changes = [shlex.quote(override(path, value)) for path, value in draft.items()]
            changes.insert(0, f"genre run CONFIG.yaml name={self.model}-2")
            words("pre", " \\\n  ".join(changes))
            words("p", say("settings.config", name=self.model), "note")

            async def forget() -> None:
                draft.clear()
                ui.navigate.reload()

            with box("div", "rowed"):
                button(say("settings.forget"), forget)


def read(one: Field, given: Any) -> Any:
    """What was written into a field, as the configuration holds it; what cannot be read stays text, and is refused."""
    if one.kind == "switch":
        return bool(given)
    text = "" if given is None else str(given)
    if one.empty and not text.strip():
        return None
    if one.kind in ("choice", "text"):
        return text
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return text


def plain(help_text: str) -> str:
    """A docstring as it is read: without its marks, and a line a paragraph."""
    return "\n".join(" ".join(one.split()) for one in help_text.replace("`", "").split("\n\n"))


def _written(value: Any) -> str:
    """A value as YAML in a field."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    return (
        yaml.safe_dump(value, allow_unicode=True, default_flow_style=True, width=10_000).removesuffix("\n...\n").strip()
    )
