"""What pages are built of: headings, cards, tables, labelled fields, states that teach. All of it plain HTML."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any

from nicegui import ui
from nicegui.elements.mixins.text_element import TextElement

Cell = str | Callable[[], Any]
"""What stands in a table: words, or what builds the elements."""
Handler = Callable[[], Awaitable[Any]]
PREFIX = "/console"
"""Where the console is, in the service and by itself."""
RECORDS = 4
"""Columns beyond which a table becomes a list of records on a narrow screen."""


class Words(TextElement):
    """An HTML element with text in it, escaped."""

    def __init__(self, tag: str, text: str, classes: str = "") -> None:
        super().__init__(tag=tag, text=text)
        self.classes(classes)


def box(tag: str = "div", classes: str = "", **attributes: str) -> ui.element:
    """An HTML element to put others in; ``aria_label`` becomes ``aria-label``."""
    made = ui.element(tag).classes(classes)
    for name, value in attributes.items():
        made.props[name.rstrip("_").replace("_", "-")] = value
    made.update()
    return made


def words(tag: str, text: str, classes: str = "", **attributes: str) -> Words:
    """An HTML element with text in it."""
    made = Words(tag, text, classes)
    for name, value in attributes.items():
        made.props[name.rstrip("_").replace("_", "-")] = value
    made.update()
    return made


def link(text: str, path: str, classes: str = "", **attributes: str) -> Words:
    """A link to a page of the console."""
    return words("a", text, classes, href=PREFIX + path, **attributes)


def card(title: str, note: str = "", classes: str = "") -> ui.element:
    """A part of a page with its heading; what follows goes into it."""
    made = box("section", f"card {classes}")
    with made:
        if title:
            words("h2", title)
        if note:
            words("p", note, "note")
    return made


def empty(title: str, teach: str, command: str = "") -> None:
    """Nothing is here yet: why, and what would bring something."""
    with box("div", "empty"):
        words("p", title, "empty-title")
        words("p", teach)
        if command:
            words("code", command)


def tile(label: str, value: str, note: str = "", tone: str = "") -> None:
    """One number."""
    with box("div", f"tile {tone}"):
        words("span", label, "tile-label")
        words("span", value, "tile-value")
        words("span", note, "tile-note")


def badge(text: str, tone: str = "", **attributes: str) -> None:
    """One word on a ground: ``good``, ``bad``, ``warn`` or plain."""
    words("span", text, f"badge {tone}", **attributes)


def table(caption: str, columns: Sequence[str], rows: Iterable[Sequence[Cell]], numbers: Iterable[int] = ()) -> None:
    """A table with a caption for those who hear it; ``numbers`` are the columns that are set to the right."""
    right = set(numbers)
    kind = "table records" if len(columns) > RECORDS else "table"
    with box("div", kind, tabindex="0", role="region", aria_label=caption), box("table"):
        words("caption", caption)
        with box("thead"), box("tr"):
            for i, column in enumerate(columns):
                words("th", column, "number" if i in right else "", scope="col")
        with box("tbody"):
            for row in rows:
                with box("tr"):
                    for i, cell in enumerate(row):
                        _cell(cell, "number" if i in right else "", columns[i])


def _cell(cell: Cell, classes: str, column: str) -> None:
    if isinstance(cell, str):
        words("td", cell, classes, data_label=column)
        return
    with box("td", classes, data_label=column):
        cell()


def button(text: str, act: Handler, kind: str = "", **attributes: str) -> ui.element:
    """A button; ``main``, ``danger``, ``quiet`` or plain. While it acts it cannot be pressed again."""
    made = words("button", text, f"button {kind}", type="button", **attributes)

    async def pressed() -> None:
        made.props["disabled"] = True
        made.update()
        try:
            await act()
        finally:
            if not made.is_deleted:
                made.props.pop("disabled", None)
                made.update()

    made.on("click", pressed, [])
    return made


def field(label: str, value: str = "", note: str = "", **attributes: str) -> ui.input:
    """A line to write in, with its label above."""
    made = ui.input(label=label, value=value).classes("field")
    if note:
        made.props["hint"] = note
    for name, given in attributes.items():
        made.props[name.rstrip("_").replace("_", "-")] = given
    made.props["stack-label"] = True
    made.props["outlined"] = True
    made.props["dense"] = True
    made.update()
    return made


def choice(label: str, options: dict[Any, str], value: Any) -> ui.select:
    """One of several."""
    made = ui.select(options, label=label, value=value).classes("field")
    return made.props("outlined dense stack-label options-dense")


def picture(svg: str, label: str) -> None:
    """An SVG that was drawn here, named for those who hear it."""
    with box("div", "picture", tabindex="0", role="region", aria_label=label), box("div", role="img", aria_label=label):
        ui.html(svg, sanitize=False)
