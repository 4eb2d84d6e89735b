"""Plots of a search, as SVG in the style of the report."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from genre.figures import FAINT, LINES, SERIES, as_svg, drawing

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Rows = list[dict[str, Any]]
"""Trials as `search.json` has them."""
MOST_SLICES = 9
"""Values whose slices are drawn, the most important first."""


def complete(rows: Rows) -> Rows:
    """Those that came to their end."""
    return [row for row in rows if row["state"] == "complete"]


def best_so_far(rows: Rows, objective: str, larger: bool) -> str | None:
    """Each trial's value in order, and the best up to it; those that were stopped early at their last."""
    done = complete(rows)
    if not done:
        return None
    with drawing("best", (7.6, 3.2)) as (figure, (axis,)):
        at = [row["number"] + 1 for row in done]
        values = np.array([row["values"][objective] for row in done])
        axis.plot(at, values, "o", color=SERIES[2], markersize=4, label="trial")
        best = np.maximum.accumulate(values) if larger else np.minimum.accumulate(values)
        axis.step(at, best, where="post", color=SERIES[0], linewidth=1.8, label="best so far")
        stopped = [(row["number"] + 1, _last(row)) for row in rows if row["state"] == "pruned" and row["curve"]]
        if stopped:
            axis.plot(
                *zip(*stopped, strict=True), "x", color=SERIES[1], markersize=4, label="stopped early, at its last"
            )
        axis.set(xlabel="trial", ylabel=objective)
        axis.legend(fontsize=8.5)
        return as_svg(figure)


def _last(row: dict[str, Any]) -> float:
    return row["curve"][max(row["curve"], key=int)]


def curves(rows: Rows, objective: str) -> str | None:
    """Every trial's results on validation over its epochs; those stopped early end where they were stopped."""
    from matplotlib.ticker import MaxNLocator

    drawn = [row for row in rows if len(row["curve"]) > 1]
    if not drawn:
        return None
    with drawing("trialcurves", (7.6, 3.2)) as (figure, (axis,)):
        for row in drawn:
            steps = sorted(map(int, row["curve"]))
            stopped = row["state"] == "pruned"
            values = [row["curve"][str(step)] for step in steps]
            axis.plot(steps, values, color=SERIES[1 if stopped else 0], linewidth=1, alpha=0.6)
            if stopped:
                axis.plot(steps[-1], values[-1], "x", color=SERIES[1], markersize=4)
        axis.plot([], [], color=SERIES[0], label="to its end")
        axis.plot([], [], "x-", color=SERIES[1], label="stopped early")
        axis.set(xlabel="epoch", ylabel=f"{objective} on validation")
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        axis.legend(fontsize=8.5)
        return as_svg(figure)


def best_of_n(lines: dict[str, list[float]], objective: str) -> str | None:
    """The best that is expected after so many trials, of the model and of each baseline."""
    if not lines:
        return None
    with drawing("bestofn", (7.6, 3.4)) as (figure, (axis,)):
        for i, (name, values) in enumerate(lines.items()):
            colour, style = SERIES[i % len(SERIES)], LINES[i // len(SERIES) % len(LINES)]
            width = 2.2 if i == 0 else 1.3
            axis.plot(range(1, len(values) + 1), values, style, color=colour, linewidth=width, label=name)
            axis.plot(len(values), values[-1], "o", color=colour, markersize=3.5)
        axis.set(xlabel="trials", ylabel=f"expected best {objective}")
        figure.legend(loc="outside lower left", ncols=4, fontsize=8.5, handlelength=1.8)
        return as_svg(figure)


def importances(found: dict[str, float]) -> str | None:
    """How much of what differs goes with each value."""
    if not found:
        return None
    names = list(found)
    with drawing("importances", (7.6, 0.7 + 0.3 * len(names))) as (figure, (axis,)):
        axis.barh(range(len(names)), [found[name] for name in names], color=SERIES[0], height=0.6)
        axis.set_yticks(range(len(names)), names)
        axis.invert_yaxis()
        axis.set_xlabel("share of what differs between trials")
        axis.grid(visible=False, axis="y")
        return as_svg(figure)


def slices(rows: Rows, space: dict[str, str], objective: str, order: list[str]) -> str | None:
    """The objective against each value, by itself."""
    done = complete(rows)
    names = [name for name in dict.fromkeys([*order, *space]) if any(name in row["chosen"] for row in done)]
    names = names[:MOST_SLICES]
    if not names:
        return None
    columns = min(3, len(names))
    height = 2.3 * ((len(names) + columns - 1) // columns)
    size = (7.6, height)
    with drawing("searchslices", size, columns=columns, panels=len(names), share_y=True) as (figure, axes):
        for axis, name in zip(axes, names, strict=True):
            mine = [row for row in done if name in row["chosen"]]
            places = _places(axis, [row["chosen"][name] for row in mine], "log" in space[name], along="x")
            axis.plot(places, [row["values"][objective] for row in mine], "o", color=SERIES[0], markersize=4, alpha=0.7)
            axis.set_title(name, fontsize=8.5)
        axes[0].set_ylabel(objective)
        return as_svg(figure)


def _places(axis: Axes, values: list[Any], log: bool, along: str) -> list[float]:
    """Numbers to draw at; words stand side by side, in the order of the alphabet."""
    if any(isinstance(one, str) for one in values):
        labels = _in_order(values)
        if along == "x":
            axis.set_xticks(range(len(labels)), labels, rotation=20, ha="right", fontsize=8)
            axis.set_xlim(-0.5, len(labels) - 0.5)
        return [float(labels.index(str(one))) for one in values]
    if log and along == "x":
        from matplotlib.ticker import NullFormatter

        axis.set_xscale("log")
        # Between powers of ten there is no room for words.
        axis.xaxis.set_minor_formatter(NullFormatter())
    return [float(one) for one in values]


def parallel(rows: Rows, space: dict[str, str], objective: str, larger: bool) -> str | None:
    """A line a trial across an axis a value, the better the stronger."""
    done = complete(rows)
    names = [name for name in space if sum(name in row["chosen"] for row in done) > 1]
    if len(done) < 2 or not names:
        return None
    goal = _scaled([row["values"][objective] for row in done], log=False)
    rank = goal if larger else 1 - goal
    columns = {name: _column([row["chosen"].get(name) for row in done], "log" in space[name]) for name in names}
    with drawing("parallel", (7.6, 3.4)) as (figure, (axis,)):
        for i in np.argsort(rank):
            heights = [columns[name][i] for name in names] + [goal[i]]
            axis.plot(heights, color=SERIES[0], alpha=0.08 + 0.72 * float(rank[i]) ** 2, linewidth=1.3)
        for x in range(len(names) + 1):
            axis.axvline(x, color=FAINT, linewidth=0.8)
        axis.set_xticks(range(len(names) + 1), [*names, objective], rotation=20, ha="right", fontsize=8)
        axis.set_yticks([0, 1], ["lowest", "highest"])
        axis.grid(visible=False)
        return as_svg(figure)


def _in_order(values: list[Any]) -> list[str]:
    """Distinct words, those that are numbers by their size."""
    labels = {str(one) for one in values}
    try:
        return sorted(labels, key=float)
    except ValueError:
        return sorted(labels)


def _column(values: list[Any], log: bool) -> NDArray[np.float64]:
    """Values between 0 and 1; missing where only other choices have it."""
    if any(isinstance(one, str) for one in values):
        labels = _in_order([one for one in values if one is not None])
        numbers: list[Any] = [None if one is None else float(labels.index(str(one))) for one in values]
        return _scaled(numbers, log=False)
    return _scaled(values, log)


def _scaled(values: list[Any], log: bool) -> NDArray[np.float64]:
    found = np.array([np.nan if one is None else float(one) for one in values])
    found = np.log(found) if log else found
    low, high = np.nanmin(found), np.nanmax(found)
    return (found - low) / (high - low) if high > low else np.where(np.isnan(found), np.nan, 0.5)


def front(rows: Rows, objectives: list[str], kept: list[int]) -> str | None:
    """Every trial by its first objective and each further one; those that none beats are joined."""
    done = complete(rows)
    if len(objectives) < 2 or not done:
        return None
    pairs = objectives[1:]
    with drawing("pareto", (7.6, 3.4), columns=len(pairs)) as (figure, axes):
        for axis, other in zip(axes, pairs, strict=True):
            best = sorted(
                (row for row in done if row["number"] in kept), key=lambda row, name=other: row["values"][name]
            )
            rest = [row for row in done if row["number"] not in kept]
            for some, series, label in ((rest, 2, "beaten"), (best, 0, "beaten by none")):
                x, y = [row["values"][other] for row in some], [row["values"][objectives[0]] for row in some]
                axis.plot(x, y, "o-" if series == 0 else "o", color=SERIES[series], markersize=4, label=label)
            for row in best:
                place = (row["values"][other], row["values"][objectives[0]])
                axis.annotate(str(row["number"]), place, xytext=(4, 3), textcoords="offset points", fontsize=8)
            axis.set(xlabel=other, ylabel=objectives[0])
        axes[0].legend(fontsize=8.5)
        return as_svg(figure)
