"""Plots for the report, as SVG that takes its colours from the page, so that it is right in light and in dark."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, FAINT, GRID = "#010101", "#020202", "#030303"
SERIES = ("#040401", "#040402", "#040403", "#040404", "#040405")
"""Stand-ins that no drawing needs for itself; the page's own colours are put in their place."""
LINES = ("-", "--", ":")
"""Where there are more lines than colours, the further ones are dashed."""
COLOURS = {INK: "var(--ink)", FAINT: "var(--faint)", GRID: "var(--line)"}
COLOURS |= {stand_in: f"var(--series-{i})" for i, stand_in in enumerate(SERIES, 1)}
LIGHT = {"ink": "#1d2129", "faint": "#68707d", "line": "#e0e3e8", "series-1": "#1f5fd1", "series-2": "#c2560c"}
LIGHT |= {"series-3": "#747c89", "series-4": "#7a3fb0", "series-5": "#0c7f7a"}
"""The report's colours on a light page, for a picture that stands in no page."""
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 10,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.edgecolor": GRID,
    "axes.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "figure.facecolor": "none",
    "legend.frameon": False,
}

Estimate = dict[str, Any]
"""``value`` and ``ci95``."""


def forest(
    figure_name: str, rows: Sequence[tuple[str, int]], panels: dict[str, dict[str, Estimate]], zero: bool = False
) -> str:
    """A dot and its interval for each row and panel; ``rows`` are names and series. ``zero`` draws a line at 0."""
    with drawing(figure_name, (7.6, 0.9 + 0.27 * len(rows)), columns=len(panels), share_y=True) as (figure, axes):
        for axis, (title, found) in zip(axes, panels.items(), strict=True):
            if zero:
                axis.axvline(0, color=FAINT, linewidth=1)
            for y, (name, series) in enumerate(rows):
                _dot(axis, found.get(name), y, SERIES[series])
            axis.set_title(title)
            axis.grid(visible=False, axis="y")
            axis.margins(y=0.04)
        axes[0].set_yticks(range(len(rows)), [name for name, _ in rows])
        axes[0].invert_yaxis()
        return as_svg(figure)


def grouped(rows: Sequence[str], series: dict[str, dict[str, Estimate]], title: str) -> str:
    """Several systems' dots and intervals side by side in each row."""
    step = 0.22
    with drawing("slices", (7.6, 1.0 + 0.2 * len(rows) * (1 + len(series) * 0.55))) as (figure, (axis,)):
        for i, (name, found) in enumerate(series.items()):
            for y, row in enumerate(rows):
                _dot(axis, found.get(row), y + (i - (len(series) - 1) / 2) * step, SERIES[i], size=4)
            axis.plot([], [], "o-", color=SERIES[i], markersize=4, label=name)
        axis.set_yticks(range(len(rows)), list(rows))
        axis.set_ylim(len(rows) - 0.4, -0.6)
        axis.set_title(title, pad=12 + 14 * ((len(series) + 1) // 2))
        axis.grid(visible=False, axis="y")
        axis.legend(loc="lower left", bbox_to_anchor=(-0.01, 1.0), ncols=2, handlelength=1.6)
        return as_svg(figure)


def curves(panels: dict[str, dict[str, list[float | None]]], phases: Sequence[int]) -> str:
    """One panel a measure over epochs; a line after each of the epochs that end one of the ``phases``."""
    from matplotlib.ticker import MaxNLocator

    columns = min(2, len(panels))
    height = 2.2 * ((len(panels) + columns - 1) // columns)
    with drawing("curves", (7.6, height), columns=columns, panels=len(panels)) as (figure, axes):
        for axis, (title, lines) in zip(axes, panels.items(), strict=True):
            for i, (name, values) in enumerate(lines.items()):
                numbers = [np.nan if value is None else value for value in values]
                steps = range(1, len(numbers) + 1)
                colour, style = SERIES[i % len(SERIES)], LINES[i // len(SERIES) % len(LINES)]
                axis.plot(steps, numbers, style, color=colour, linewidth=1.6, label=name, marker="o", markersize=2.5)
            for last in phases:
                axis.axvline(last + 0.5, color=FAINT, linewidth=1, linestyle=(0, (3, 3)))
            axis.set_title(title)
            axis.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
            if len(lines) > 1:
                axis.legend(fontsize=8.5)
        return as_svg(figure)


def few_events(panels: dict[str, dict[str, list[Estimate]]], ticks: Sequence[str]) -> str:
    """A line and its intervals a system over how much is known of each person; a panel a measure."""
    with drawing("shots", (7.6, 3.6), columns=len(panels)) as (figure, axes):
        for axis, (title, systems) in zip(axes, panels.items(), strict=True):
            for i, (name, points) in enumerate(systems.items()):
                colour, style = SERIES[i % len(SERIES)], LINES[i // len(SERIES) % len(LINES)]
                # Beside each other by a hair, so that one interval does not hide another.
                places = np.arange(len(points)) + (i - (len(systems) - 1) / 2) * 0.08
                values = [np.nan if point["value"] is None else point["value"] for point in points]
                axis.plot(places, values, style, color=colour, linewidth=1.5, marker="o", markersize=3.5, label=name)
                for place, point in zip(places, points, strict=True):
                    if point["ci95"] is not None:
                        axis.plot([place, place], point["ci95"], color=colour, linewidth=1)
            axis.set_xticks(range(len(ticks)), list(ticks))
            axis.set_xlabel("latest events that are known of each person")
            axis.set_title(title)
            axis.grid(visible=False, axis="x")
        # One legend is enough, as the systems are the same in every panel.
        handles, labels = axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower left", ncols=3, fontsize=8.5, handlelength=1.8)
        return as_svg(figure)


def costs(forms: dict[str, dict[str, Any]]) -> str:
    """What each form of a language model loses on the test part, against its size and against its time a text."""
    axes_of = {"mb": "size, MB", "median_ms": "time of one text, ms"}
    measures = list(dict.fromkeys(key for form in forms.values() for key in form["test"]))
    with drawing("compress", (7.6, 3.6), columns=2) as (figure, axes):
        for axis, (cost, label) in zip(axes, axes_of.items(), strict=True):
            for i, measure in enumerate(measures):
                for number, (name, form) in enumerate(sorted(forms.items(), key=lambda one: one[1][cost])):
                    found = form["test"].get(measure)
                    if found is None or found["loss"] is None:
                        continue
                    colour, at = SERIES[i % len(SERIES)], form[cost]
                    if found["ci95"] is not None:
                        axis.plot([at, at], [100 * edge for edge in found["ci95"]], color=colour, linewidth=1)
                    axis.plot([at], [100 * found["loss"]], "o", color=colour, markersize=4)
                    if i == 0:
                        place = (at, 100 * found["loss"])
                        axis.annotate(
                            name, place, xytext=(4, (3, -10)[number % 2]), textcoords="offset points", fontsize=8
                        )
                axis.plot([], [], "o", color=SERIES[i % len(SERIES)], markersize=4, label=measure)
            axis.margins(x=0.15)
            axis.set(xscale="log", xlabel=label, ylabel="lost, %")
        axes[0].legend(fontsize=8.5)
        return as_svg(figure)


def alone(svg: str) -> str:
    """A figure as a file of its own, with colours of its own on white."""
    for name, colour in LIGHT.items():
        svg = svg.replace(f"var(--{name})", colour)
    head, bracket, rest = svg.partition(">")
    return f'{head}{bracket}\n<rect width="100%" height="100%" fill="#ffffff"/>{rest}'


def stacked(figure_name: str, rows: dict[str, list[tuple[str, float]]], label: str) -> str:
    """A bar a row, of parts one behind the other; each says its name where it is wide enough."""
    longest = max((sum(amount for _, amount in parts) for parts in rows.values()), default=0.0) or 1.0
    with drawing(figure_name, (7.6, 0.8 + 0.5 * len(rows))) as (figure, (axis,)):
        for y, parts in enumerate(rows.values()):
            start = 0.0
            for i, (name, amount) in enumerate(parts):
                # Pale, so that the words on them are read in light and in dark.
                axis.barh(y, amount, left=start, height=0.72, color=SERIES[i % len(SERIES)], alpha=0.45)
                if amount > 0.0095 * longest * len(name):
                    axis.text(start + amount / 2, y, name, ha="center", va="center", fontsize=8)
                start += amount
        axis.set_yticks(range(len(rows)), list(rows))
        axis.invert_yaxis()
        axis.set_xlabel(label)
        axis.grid(visible=False, axis="y")
        return as_svg(figure)


def _dot(axis: Axes, estimate: Estimate | None, y: float, colour: str, size: float = 5) -> None:
    if estimate is None or estimate["value"] is None:
        return
    if estimate["ci95"] is not None:
        axis.plot(estimate["ci95"], [y, y], color=colour, linewidth=2, solid_capstyle="round")
    axis.plot([estimate["value"]], [y], "o", color=colour, markersize=size)


@contextmanager
def drawing(
    name: str, size: tuple[float, float], columns: int = 1, panels: int | None = None, share_y: bool = False
) -> Iterator[tuple[Figure, list[Axes]]]:
    """A figure and its axes in the report's style, without a window system and without touching global settings."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context({**STYLE, "svg.hashsalt": name}):
        figure = Figure(figsize=size, layout="constrained")
        figure.set_label(name)
        panels = panels or columns
        rows = (panels + columns - 1) // columns
        grid = np.atleast_1d(figure.subplots(rows, columns, sharey=share_y, squeeze=False)).ravel()
        for spare in grid[panels:]:
            spare.set_visible(False)
        yield figure, list(grid[:panels])


def as_svg(figure: Figure) -> str:
    """The figure as an SVG element to stand in a page: own ids, page colours, no prologue."""
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    sink, name = io.StringIO(), str(figure.get_label())
    FigureCanvasSVG(figure).print_svg(sink, metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    svg = sink.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\bid="', f'id="{name}-', svg)
    svg = re.sub(r'(xlink:href="#|url\(#)', rf"\g<1>{name}-", svg)
    for stand_in, colour in COLOURS.items():
        svg = svg.replace(stand_in, colour)
    width, height = (float(x) for x in re.findall(r'(?:width|height)="([\d.]+)pt"', svg)[:2])
    svg = re.sub(r'(?:width|height)="[\d.]+pt"', "", svg, count=2)
    return svg.replace("<svg", f'<svg aria-hidden="true" style="--wide:{width:.0f}pt;--high:{height:.0f}pt"', 1)
