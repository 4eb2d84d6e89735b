"""Asking before something is done: why, and whether it is meant."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from nicegui import ui

from genre.console.calling import Unanswered
from genre.console.frame import Visit
from genre.console.parts import box, button, words


def ask(
    visit: Visit,
    title: str,
    go: str,
    act: Callable[[str], Awaitable[Any]],
    *,
    note: str = "",
    reason: str | None = None,
    danger: bool = False,
) -> None:
    """A dialog that does ``act`` with the reason that is written, if a ``reason`` is asked for by that label."""
    say = visit.say
    with ui.dialog() as dialog, ui.card().classes("card"):
        dialog.props["aria-label"] = title
        words("h2", title)
        if note:
            words("p", note, "note")
        line = None
        if reason is not None:
            line = ui.input(label=reason).classes("field").props("outlined dense stack-label autofocus")

        async def do() -> None:
            why = "" if line is None else (line.value or "").strip()
            if line is not None and not why:
                line.props["error"] = True
                line.props["error-message"] = say("why.missing")
                line.update()
                return
            try:
                await act(why)
            except Unanswered as error:
                visit.tell_error(error)
            dialog.close()

        async def leave() -> None:
            dialog.close()

        if line is not None:
            line.on("keydown.enter", do, [])
        with box("div", "rowed end"):
            button(say("cancel"), leave, "quiet")
            button(go, do, "danger" if danger else "main")
    dialog.on("hide", dialog.delete, [])
    dialog.open()
