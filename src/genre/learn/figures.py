"""Pictures of policies: how regret grows, and what a learned one would earn."""

from __future__ import annotations

from typing import Any

import numpy as np

from genre.figures import FAINT, SERIES, alone, as_svg, drawing


def regret_curves(policies: dict[str, Any]) -> str:
    """Regret over all rounds, and over the visits of new people; bands are 95 % intervals."""
    with drawing("regret", (9.0, 4.4), columns=2) as (figure, axes):
        for axis, key, by, title in (
            (axes[0], "curve", "round", "regret so far"),
            (axes[1], "cold", "visit", "regret of a visit of new people"),
        ):
            for i, (name, found) in enumerate(policies.items()):
                colour, style = SERIES[i % len(SERIES)], ("-", "--", ":")[i // len(SERIES) % 3]
                x, points = found[key][by], found[key]["regret"]
                axis.plot(x, [one["value"] for one in points], style, color=colour, linewidth=1.5, label=name)
                low, high = np.array([one["ci95"] for one in points]).T
                axis.fill_between(x, low, high, color=colour, alpha=0.12, linewidth=0)
            axis.set_title(title)
            axis.set_xlabel(by)
        handles, labels = axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower left", ncols=4, fontsize=8.5, handlelength=1.8)
        return alone(as_svg(figure))


def values_of(systems: dict[str, Any], estimator: str) -> str:
    """What each policy would have earned, beside what the log did."""
    first = next(iter(systems.values()))["logging"]
    rows = {"the log": first, **{name: found["values"].get(estimator) for name, found in systems.items()}}
    with drawing("values", (7.6, 0.9 + 0.4 * len(rows))) as (figure, (axis,)):
        axis.axvline(first["value"], color=FAINT, linewidth=1, linestyle=(0, (3, 3)))
        for y, (name, found) in enumerate(rows.items()):
            if found is None or found["value"] is None:
                continue
            colour = SERIES[1] if name == "learned" else SERIES[0]
            axis.plot([found["value"]], [y], "o", color=colour, markersize=5)
            if found["ci"] is not None:
                axis.plot(found["ci"], [y, y], color=colour, linewidth=1.6)
        axis.set_yticks(range(len(rows)), list(rows))
        axis.invert_yaxis()
        axis.grid(visible=False, axis="y")
        return alone(as_svg(figure))
