"""A stream whose departures from its mean add up."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import PositiveFloat

from genre.component import component
from genre.detectors import Found, Watched, standard
from genre.errors import GenreError


@component
class PageHinkley:
    """Adds up by how much values lie beside the mean so far, and alarms when that has become too much, either way.

    Quicker than `adwin` for changes larger than ``ignored``, blind to smaller ones. Page (1954),
    https://doi.org/10.1093/biomet/41.1-2.100, through river.
    """

    ignored: PositiveFloat = 0.05
    """Change of the mean that is none, in standard deviations of what was before; larger is deafer and surer."""
    threshold: PositiveFloat = 80.0
    """Sum of departures at which it alarms, in the same; larger is later and surer: at 80 and 0.05, one false alarm in
    some 600,000 values."""

    reads: ClassVar[Literal["stream", "numbers", "words", "people"]] = "stream"

    def detect(self, watched: Watched) -> Found:
        try:
            from river.drift import PageHinkley as Test
        except ModuleNotFoundError as error:
            raise GenreError("detectors.page_hinkley needs river: pip install 'genre-recommender[watch]'") from error

        before, now = standard(watched)
        test = Test(min_instances=len(before), delta=self.ignored, threshold=self.threshold, alpha=1.0)
        for value in before:
            test.update(float(value))
        changed = []
        for row, value in enumerate(now):
            test.update(float(value))
            if test.drift_detected:
                changed.append(row)
        moved = float(now.mean())
        side = "above" if moved > 0 else "below"
        why = f"{abs(moved):.2f} deviations {side} what it was, for long enough" if changed else "stays near its mean"
        return Found(bool(changed), abs(moved), 0.0, why, tuple(changed))
