"""Plots of what heads predict: calibration and confusion, for the report as SVG and for trackers as pictures."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from genre.figures import COLOURS, FAINT, INK, LIGHT, SERIES, as_svg, drawing
from genre.wording import label

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CALIBRATED = ("model", "model_before", "user_item_bias", "tfidf")
"""Systems whose calibration is drawn."""
CONFUSED = "model"
"""The system whose confusions are drawn."""
CELL = 0.42
"""Inches of a cell."""


def calibration_of(result: dict[str, Any]) -> str | None:
    """The calibration plots of an evaluation, a panel a head."""
    panels = _calibrations(result)
    if not panels:
        return None
    with calibration(panels) as figure:
        return as_svg(figure)


def confusion_of(result: dict[str, Any]) -> str | None:
    """The confusion matrices of an evaluation, a panel a head."""
    panels = _confusions(result)
    if not panels:
        return None
    with confusion(panels) as figure:
        return as_svg(figure)


def pictures_of(result: dict[str, Any]) -> dict[str, bytes]:
    """Every plot of the heads of an evaluation as a PNG, by ``calibration/like``."""
    found = {}
    for name, panel in _calibrations(result).items():
        with calibration({name: panel}) as figure:
            found[f"calibration/{name}"] = as_png(figure)
    for name, panel in _confusions(result).items():
        with confusion({name: panel}) as figure:
            found[f"confusion/{name}"] = as_png(figure)
    return found


def _calibrations(result: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {
        head: {label(system): bins[system] for system in CALIBRATED if system in bins}
        for head, bins in result["calibration"].items()
    }


def _confusions(result: dict[str, Any]) -> dict[str, dict[str, Any]]:
    # An evaluation of before there were any has none.
    return {head: of[CONFUSED] for head, of in result.get("confusion", {}).items() if CONFUSED in of}


@contextmanager
def calibration(panels: dict[str, dict[str, list[dict[str, float]]]]) -> Iterator[Figure]:
    """What was predicted against what came true, a panel a head and a line a system; the diagonal is honest."""
    with drawing("calibration", (3.9 * max(1, len(panels)), 3.5), columns=len(panels)) as (figure, axes):
        for axis, (title, systems) in zip(axes, panels.items(), strict=True):
            axis.plot([0, 1], [0, 1], color=FAINT, linewidth=1, linestyle=(0, (3, 3)))
            for i, (name, bins) in enumerate(systems.items()):
                x, y = [b["predicted"] for b in bins], [b["observed"] for b in bins]
                axis.plot(x, y, "o-", color=SERIES[i], markersize=4, linewidth=1.4, label=name)
            axis.set(xlim=(0, 1), ylim=(0, 1), xlabel="predicted", ylabel="came true", aspect="equal")
            axis.set_title(title)
            axis.legend(fontsize=8.5, loc="upper left")
        yield figure


@contextmanager
def confusion(panels: dict[str, dict[str, Any]]) -> Iterator[Figure]:
    """Rows by their label and by what they were taken for, a panel a head; the darker, the larger its share."""
    from matplotlib.patches import Rectangle

    most = max(len(panel["labels"]) for panel in panels.values())
    size = max(2.6, CELL * most + 1.1)
    with drawing("confusion", (size * len(panels), size), columns=len(panels)) as (figure, axes):
        for axis, (title, panel) in zip(axes, panels.items(), strict=True):
            labels, counts = panel["labels"], np.array(panel["counts"])
            shares = counts / np.maximum(1, counts.sum(1, keepdims=True))
            for (y, x), n in np.ndenumerate(counts):
                # Pale, so that the number on it is read in light and in dark.
                axis.add_patch(Rectangle((x, y), 1, 1, color=SERIES[0], alpha=0.55 * float(shares[y, x]), linewidth=0))
                if n:
                    axis.text(x + 0.5, y + 0.5, f"{n}", ha="center", va="center", fontsize=7, color=INK)
            places = np.arange(len(labels)) + 0.5
            axis.set(xlim=(0, len(labels)), ylim=(len(labels), 0), xlabel="taken for", ylabel="is", aspect="equal")
            axis.set_xticks(places, labels, rotation=45 if len(labels) > 8 else 0, fontsize=8)
            axis.set_yticks(places, labels, fontsize=8)
            axis.set_title(title)
            axis.grid(visible=False)
        yield figure


def as_png(figure: Figure) -> bytes:
    """The figure as a picture on white, in the report's colours, for a place that shows no page."""
    from matplotlib.colors import to_hex

    paper = {stand_in: LIGHT[name.removeprefix("var(--").removesuffix(")")] for stand_in, name in COLOURS.items()}
    for artist in figure.findobj():
        for what in ("color", "markerfacecolor", "markeredgecolor", "facecolor", "edgecolor"):
            get = getattr(artist, f"get_{what}", None)
            colour = None if get is None else get()
            if isinstance(colour, (str, tuple)) and (new := paper.get(to_hex(colour))) is not None:
                getattr(artist, f"set_{what}")(new)
    sink = io.BytesIO()
    figure.savefig(sink, format="png", dpi=110, facecolor="white")
    return sink.getvalue()
