"""A stream cut where its two sides differ."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field

from genre.component import component
from genre.detectors import Found, Watched
from genre.errors import GenreError


@component
class Adwin:
    """Drops the older end of a window as soon as its mean differs from that of the newer end: sure, and not quick.

    Its false alarms are bounded whatever the stream looks like; `page_hinkley` hears small changes sooner, and has to
    be told how small. Bifet and Gavalda (2007), https://doi.org/10.1137/1.9781611972771.42, through river.
    """

    confidence: Annotated[float, Field(gt=0, lt=1)] = 0.002
    """Chance of a false alarm at any look (delta); larger hears smaller changes, and more that are none."""

    reads: ClassVar[Literal["stream", "numbers", "words", "people"]] = "stream"

    def detect(self, watched: Watched) -> Found:
        try:
            from river.drift import ADWIN
        except ModuleNotFoundError as error:
            raise GenreError("detectors.adwin needs river: pip install 'genre-recommender[watch]'") from error

        low = float(min(watched.before.min(), watched.now.min()))
        width = float(max(watched.before.max(), watched.now.max())) - low or 1.0
        window = ADWIN(delta=self.confidence)
        for value in watched.before:
            window.update((float(value) - low) / width)
        was, changed = window.estimation, []
        for row, value in enumerate(watched.now):
            window.update((float(value) - low) / width)
            if window.drift_detected:
                changed.append(row)
        moved = abs(window.estimation - was) * width
        means = f"{was * width + low:.4g} to {window.estimation * width + low:.4g}"
        why = f"its mean went from {means}" if changed else f"no change of its mean ({float(np.mean(watched.now)):.4g})"
        return Found(bool(changed), moved, 0.0, why, tuple(changed))
