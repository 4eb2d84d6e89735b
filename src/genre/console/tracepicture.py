"""What happened on the way of a slate, as a picture: sources, what was merged, what was taken out, what was scored."""

from __future__ import annotations

import html
import itertools
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from genre.console.words import Speech

WIDE, HIGH, GAP, ACROSS = 112, 58, 10, 20
LETTERS, SMALL = 15, 20
"""Letters that fit into a box, of its title and of its lines."""


@dataclass
class Node:
    """A box of the picture."""

    title: str
    lines: list[str]
    tone: str = ""
    x: float = 0
    y: float = 0
    weight: float = 1.0
    """How thick the line is that leaves it."""


@dataclass
class Column:
    """Boxes at one place of the way."""

    nodes: list[Node] = field(default_factory=list)


def columns_of(reply: dict[str, Any], say: Speech) -> list[Column]:
    """The way of a slate as columns of boxes."""
    trace, items = reply["trace"], reply["items"]
    seconds: dict[str, float] = trace["seconds"]
    shown = Counter(source for item in items for source in item["sources"])
    names = [name.removeprefix("sources.") for name in seconds if name.startswith("sources.")]
    names += [name for name in (*shown, *trace["skipped"]) if name not in names]
    sources = []
    for name in dict.fromkeys(names):
        if name in trace["skipped"]:
            sources.append(Node(name, [say("trace.skipped"), trace["skipped"][name]], "bad", weight=0))
        else:
            lines = [say("trace.share", n=shown[name], of=len(items)), _ms(seconds.get(f"sources.{name}"))]
            sources.append(Node(name, lines, weight=shown[name] / max(len(items), 1)))
    filters = [
        Node(name, [say("trace.removed", n=f"{removed:,}"), _ms(seconds.get(f"filters.{name}"))])
        for name, removed in trace["removed"].items()
    ]
    later = [Node(say("trace.scorer"), [_ms(seconds.get("scorer"))])]
    if "rerank" in seconds:
        later.append(Node(say("trace.rerank"), [_ms(seconds["rerank"])]))
    later.append(Node(say("trace.predictions"), [_ms(seconds.get("predictions"))]))
    origins = Counter(item["origin"] for item in items)
    ends = [say(f"origin.{name}") + f" {n}" for name, n in origins.items()]
    first = Node(say("trace.request"), [say("trace.hydrate"), _ms(seconds.get("hydrate"))])
    last = Node(say("trace.slate", n=len(items)), [" · ".join(ends), f"{trace['milliseconds']:,.0f} ms"], "main")
    way = [Column([first]), Column(sources), Column(filters), Column(later), Column([last])]
    return [one for one in way if one.nodes]


def drawn(reply: dict[str, Any], say: Speech) -> str:
    """The picture as SVG, in the colours of the page."""
    way = columns_of(reply, say)
    tallest = max(len(one.nodes) for one in way)
    height = tallest * (HIGH + GAP) + GAP
    for i, column in enumerate(way):
        top = (height - len(column.nodes) * (HIGH + GAP) + GAP) / 2
        for j, node in enumerate(column.nodes):
            node.x, node.y = i * (WIDE + ACROSS) + 1, top + j * (HIGH + GAP)
    width = len(way) * (WIDE + ACROSS) - ACROSS + 2
    parts = [f'<svg viewBox="0 0 {width} {height}" style="width:100%;min-width:540px;max-width:{width}px">']
    for before, after in itertools.pairwise(way):
        parts += [_edge(a, b) for a in before.nodes for b in after.nodes]
    parts += [_box(node) for column in way for node in column.nodes]
    return "".join(parts) + "</svg>"


def _edge(a: Node, b: Node) -> str:
    if a.weight == 0 or b.weight == 0:
        return ""
    x1, y1, x2, y2 = a.x + WIDE, a.y + HIGH / 2, b.x, b.y + HIGH / 2
    middle = (x1 + x2) / 2
    width = 1 + 3 * min(a.weight, b.weight, 1)
    return (
        f'<path d="M{x1:.1f} {y1:.1f} C{middle:.1f} {y1:.1f} {middle:.1f} {y2:.1f} {x2:.1f} {y2:.1f}" fill="none" '
        f'stroke="var(--accent)" stroke-width="{width:.1f}" opacity=".3"/>'
    )


def _box(node: Node) -> str:
    fill = {"bad": "var(--bad-soft)", "main": "var(--accent-soft)"}.get(node.tone, "var(--sunk)")
    lines = [line for line in node.lines if line]
    spoken_line = f"{node.title}: {', '.join(lines)}"
    parts = [
        f"<g><title>{html.escape(spoken_line)}</title>",
        f'<rect x="{node.x}" y="{node.y}" width="{WIDE}" height="{HIGH}" rx="8" fill="{fill}" stroke="var(--line)"/>',
        f'<text x="{node.x + 9}" y="{node.y + 19}" font-size="12.5" font-weight="620" fill="var(--text)">'
        f"{html.escape(_short(node.title, LETTERS))}</text>",
    ]
    for i, line in enumerate(lines[:2]):
        parts.append(
            f'<text x="{node.x + 9}" y="{node.y + 35 + 14 * i}" font-size="11" fill="var(--muted)">'
            f"{html.escape(_short(line, SMALL))}</text>"
        )
    return "".join(parts) + "</g>"


def spoken(reply: dict[str, Any], say: Speech) -> str:
    """The same in words, for those who do not see it."""
    return ". ".join(
        f"{node.title}: {', '.join(filter(None, node.lines))}" for one in columns_of(reply, say) for node in one.nodes
    )


def _short(text: str, most: int) -> str:
    wide = sum(2 if ord(letter) > 0x2E7F else 1 for letter in text)
    if wide <= most:
        return text
    kept, used = "", 0
    for letter in text:
        used += 2 if ord(letter) > 0x2E7F else 1
        if used >= most:
            break
        kept += letter
    return kept + "…"


def _ms(seconds: float | None) -> str:
    return "" if seconds is None else f"{1000 * seconds:.1f} ms"


def moved(before: Sequence[str], after: Sequence[str]) -> dict[str, int | None]:
    """How many places up each item of a slate stands beside where it was; None for one that was not there."""
    places = {item: i for i, item in enumerate(before)}
    return {item: places[item] - i if item in places else None for i, item in enumerate(after)}
