"""Charts: lines by ECharts, which NiceGUI carries; values with their intervals as SVG in the colours of the page."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from nicegui import ui

COLOURS = ("#4a63d0", "#c06a10", "#248a62", "#8f55ae", "#a23b58", "#5d7a86")
"""Told apart on light and on dark ground, also by those who do not see red and green."""
INK = "#868c94"
"""Of axes: readable on both grounds."""


@dataclass(frozen=True)
class Line:
    """One line of a chart."""

    name: str
    points: Sequence[tuple[Any, float | None]]
    dashed: bool = False


def lines(label: str, drawn: Sequence[Line], *, times: bool = False, unit: str = "", zero: bool = True) -> ui.echart:
    """Lines over a number, or over the time of day."""
    chart = ui.echart(options(label, drawn, times=times, unit=unit, zero=zero)).classes("plot")
    chart.props["role"] = "img"
    chart.props["aria-label"] = label
    return chart


def options(label: str, drawn: Sequence[Line], *, times: bool, unit: str, zero: bool) -> dict[str, Any]:
    """What ECharts is to draw."""
    axis = {"axisLine": {"lineStyle": {"color": INK}}, "axisLabel": {"color": INK}, "nameTextStyle": {"color": INK}}
    across = {"type": "time"} if times else {"type": "category", "boundaryGap": False}
    return {
        "color": list(COLOURS),
        "textStyle": {"fontFamily": "inherit"},
        "animation": False,
        "grid": {"left": 8, "right": 16, "top": 34, "bottom": 4, "containLabel": True},
        "legend": {
            "top": 0,
            "left": 0,
            "textStyle": {"color": INK},
            "itemHeight": 8,
            "itemWidth": 16,
            "type": "scroll",
        },
        "tooltip": {"trigger": "axis", "confine": True},
        "aria": {"enabled": True, "label": {"description": label}},
        "xAxis": {
            **axis,
            **across,
            "splitLine": {"show": False},
            "axisTick": {"show": False},
            "axisLabel": {"color": INK, "hideOverlap": True},
        },
        "yAxis": {
            **axis,
            "type": "value",
            "scale": not zero,
            "min": 0 if zero else None,
            "axisLabel": {"color": INK, "formatter": f"{{value}} {unit}".strip()},
            "splitNumber": 3,
            "splitLine": {"lineStyle": {"color": INK, "opacity": 0.22}},
        },
        "series": [
            {
                "name": line.name,
                "type": "line",
                "data": [[x, y] for x, y in line.points],
                "showSymbol": len(line.points) < 30,
                "symbolSize": 5,
                "lineStyle": {"width": 2, "type": "dashed" if line.dashed else "solid"},
            }
            for line in drawn
        ],
    }


@dataclass(frozen=True)
class Measured:
    """A value with its interval."""

    name: str
    value: float | None
    low: float | None = None
    high: float | None = None
    strong: bool = False


def intervals(rows: Sequence[Measured], zero: bool = False, names: int = 132) -> str:
    """Values and their 95 % intervals one below the other on one scale, as SVG; ``zero`` draws the line of nothing."""
    seen = [x for row in rows for x in (row.value, row.low, row.high) if x is not None]
    if zero:
        seen.append(0.0)
    if not seen:
        return ""
    low, high = min(seen), max(seen)
    room = (high - low) or abs(high) or 1.0
    low, high = low - 0.06 * room, high + 0.06 * room
    if min(seen) >= 0 and not zero:
        low = max(low, 0.0)
    width, numbers, step = 250, 74, 26
    height = step * len(rows) + 6

    def x(value: float) -> float:
        return names + numbers + width * (value - low) / (high - low)

    right = names + numbers + width + 8
    parts = [f'<svg viewBox="0 0 {right} {height}" width="{right}" height="{height}">']
    if zero:
        parts.append(
            f'<line x1="{x(0):.1f}" x2="{x(0):.1f}" y1="0" y2="{height}" stroke="var(--muted)" stroke-dasharray="3 3"/>'
        )
    for i, row in enumerate(rows):
        parts.append(_measured(row, step * i + step / 2 + 3, x, names, names + numbers - 18))
    return "".join(parts) + "</svg>"


def _measured(row: Measured, y: float, x: Any, names: float, right: float) -> str:
    colour = "var(--accent)" if row.strong else "var(--muted)"
    weight = "620" if row.strong else "400"
    most = int(names / 7.2)
    name = row.name if len(row.name) <= most else row.name[: most - 1] + "…"
    parts = [
        f'<text x="0" y="{y + 4:.1f}" font-size="13" font-weight="{weight}" fill="var(--text)">'
        f"{html.escape(name)}<title>{html.escape(row.name)}</title></text>"
    ]
    if row.low is not None and row.high is not None:
        parts.append(
            f'<line x1="{x(row.low):.1f}" x2="{x(row.high):.1f}" y1="{y}" y2="{y}" stroke="{colour}" '
            'stroke-width="2.5" stroke-linecap="round" opacity=".55"/>'
        )
    if row.value is not None:
        parts.append(f'<circle cx="{x(row.value):.1f}" cy="{y}" r="4" fill="{colour}"/>')
        parts.append(
            f'<text x="{right}" y="{y + 4:.1f}" font-size="13" font-weight="{weight}" text-anchor="end" '
            f'fill="var(--text)" style="font-variant-numeric: tabular-nums">{row.value:.4f}</text>'
        )
    return "".join(parts)
