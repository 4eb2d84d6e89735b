"""A slate with its reasons."""

from __future__ import annotations

from typing import Any

from genre.console.frame import Visit
from genre.console.parts import badge, box, table, words
from genre.console.tracepicture import moved

BARS = 8
"""Reasons that are drawn of each kind."""


def title_of(item: dict[str, Any]) -> str:
    """What an item of a slate is called."""
    return str(item["columns"].get("title") or (item.get("explanation") or {}).get("title") or item["item_id"])


def show_state(visit: Visit, reply: dict[str, Any]) -> None:
    """Whether the slate is whole, by which model, in which experiment."""
    say = visit.say
    with box("div", "rowed"):
        badge(say(f"rung.{reply['rung']}"), "good" if reply["rung"] == "full" else "warn")
        badge(f"{reply['model']['name']} @ {reply['model']['version'][:8]}")
        badge(f"{reply['trace']['milliseconds']:,.0f} ms")
        if reply["trace"]["from_cache"]:
            badge(say("slate.cached"))
        if experiment := reply["experiment"]:
            badge(say("slate.arm", name=experiment["name"], arm=experiment["arm"]), "accent")
    for name in reply["degraded"]:
        with box("div", "alarm warn"):
            words("strong", say("slate.without", what=name))
    if reply["unknown_items"]:
        words("p", say("slate.unknown", items=", ".join(reply["unknown_items"])), "note")


def show_slate(visit: Visit, reply: dict[str, Any], before: dict[str, Any] | None = None) -> None:
    """The items in order, each with its reasons; with how they moved beside another slate."""
    say = visit.say
    changes = {} if before is None else moved(_ids(before), _ids(reply))
    with box("ol", "slate", aria_label=say("slate.items")):
        for item in reply["items"]:
            with box("li"):
                words("span", str(item["rank"]), "rank")
                with box("div"):
                    _head(visit, item, changes)
                    _reasons(visit, item)
    if before is not None:
        gone = [one for one in before["items"] if one["item_id"] not in set(_ids(reply))]
        if gone:
            titles = say.list([title_of(one) for one in gone])
            words("p", say("slate.gone", items=titles), "note")


def _ids(reply: dict[str, Any]) -> list[str]:
    return [one["item_id"] for one in reply["items"]]


def _head(visit: Visit, item: dict[str, Any], changes: dict[str, int | None]) -> None:
    say, name = visit.say, item["item_id"]
    with box("div", "rowed"):
        words("span", title_of(item), "slate-title")
        words("span", name, "note")
        if item["origin"] != "ranked":
            badge(say(f"origin.{item['origin']}"), "accent")
        if name in changes:
            up = changes[name]
            if up is None:
                badge(say("slate.new"), "accent")
            elif up:
                badge(
                    f"{'↑' if up > 0 else '↓'} {abs(up)}",
                    "good" if up > 0 else "warn",
                    aria_label=say("slate.up" if up > 0 else "slate.down", n=abs(up)),
                )


def _reasons(visit: Visit, item: dict[str, Any]) -> None:
    say, found = visit.say, item["explanation"]
    if found is None:
        words("p", say("slate.no_reasons"), "note")
        return
    words("p", found["sentence"], "why")
    with box("details"):
        words("summary", say("slate.reasons"))
        with box("div", "detail"):
            with box("div", "stack"):
                words("h3", say("slate.carried"))
                words("p", say("slate.carried.note"), "note")
                _bars([(one["title"], one["change"]) for one in found["carried"][:BARS]])
            with box("div", "stack"):
                words("h3", say("slate.sources"))
                rows = [(one["source"], _place(one["rank"]), _number(one["adds"])) for one in found["origins"]]
                table(say("slate.sources"), [say("slate.source"), say("slate.place"), say("slate.adds")], rows, (1, 2))
                words("p", say("slate.score", score=_number(found["score"])), "note")
            _further(visit, item, found)
        for note in found["notes"]:
            words("p", note, "note")


def _further(visit: Visit, item: dict[str, Any], found: dict[str, Any]) -> None:
    say = visit.say
    trees = {name: value for name, value in found["terms"].items() if name.startswith("trees: ")}
    if trees:
        with box("div", "stack"):
            words("h3", say("slate.columns"))
            _bars([(name.removeprefix("trees: "), value) for name, value in list(trees.items())[:BARS]])
    if item["predictions"]:
        with box("div", "stack"):
            words("h3", say("slate.predictions"))
            rows = [(name, _number(value)) for name, value in item["predictions"].items()]
            table(say("slate.predictions"), [say("slate.head"), say("slate.value")], rows, (1,))
    for name, why in found["missing"].items():
        words("p", f"{name}: {why}", "note")


def _bars(rows: list[tuple[str, float]]) -> None:
    most = max((abs(value) for _, value in rows), default=0.0) or 1.0
    with box("div", "bars"):
        for name, value in rows:
            with box("div", "bar against" if value < 0 else "bar"):
                box("i", style=f"width:{100 * abs(value) / most:.1f}%")
                words("span", name)
            words("span", f"{value:+.3f}", "number")


def _place(rank: int | None) -> str:
    return "–" if rank is None else str(rank)


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
