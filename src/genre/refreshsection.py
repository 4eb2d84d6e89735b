"""The part of the configuration that says how a run keeps up with what people do."""

from __future__ import annotations

from dataclasses import field
from pathlib import Path
from typing import Annotated

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveInt

from genre.component import Slot
from genre.detectors import Detector
from genre.sections import Share, section, slot

DETECTORS = ["page_hinkley", "adwin", "population_stability", "kolmogorov_smirnov"]
DETECTORS += ["isolation_forest", "robust_distance"]
Part = Annotated[float, Field(gt=0, lt=0.5)]


@section
class RefreshSection:
    """How `genre refresh` makes the next model from the last, and what it has to prove before it is published."""

    start: Path | None = None
    """The run whose model training begins from, instead of from nothing: `genre refresh` sets it in the run it makes.
    What fits is taken over; new items, actions and classes begin anew."""
    replay: Share = 0.3
    """Share of the people without new events whose old events are trained on again, so that what they taught is not
    forgotten; drawn evenly, each with their whole history (experience replay: Rolnick et al. 2019,
    https://arxiv.org/abs/1811.11682; for recommenders Mi et al. 2020, https://arxiv.org/abs/2007.12000). People with
    new events always bring their own. Larger forgets less and takes longer; 1 trains on all."""
    warmup_epochs: NonNegativeInt = 3
    """Most epochs with the language model held still."""
    epochs: NonNegativeInt = 2
    """Most epochs in which the language model learns too; more follow the new events further, away from the old."""
    rate: Annotated[float, Field(gt=0, le=1)] = 0.5
    """Learning rates, as a share of those of fine-tuning; larger learns faster and forgets more."""
    held_out: Part = 0.2
    """Share of the new events, the newest, on which the old and the new model are compared; larger is surer, and less
    is learned."""
    validation: Part = 0.1
    """Share of the new events, those just before, that choose."""
    fewest: PositiveInt = 100
    """New events below which nothing is done; larger refreshes more seldom and proves more."""
    guarded: list[str] = field(default_factory=lambda: ["ndcg@10", "recall@10"])
    """Measures of rankings in which the new model may not be worse."""
    margin: NonNegativeFloat = 0.02
    """How much worse on the newest events still counts as not worse, as a share of the old model's value: the whole
    interval of the difference must lie above it. Larger publishes sooner."""
    old_margin: NonNegativeFloat = 0.05
    """The same on the old model's own test, which says what was forgotten."""
    slice_margin: NonNegativeFloat = 0.1
    """How much worse a slice may be, as a share of the old value over all. One that is shown to be worse, beyond
    this and beyond what chance does among so many slices, stops publishing."""
    bootstrap: PositiveInt = 2000
    """Resamples of the people behind each interval; larger is steadier and slower."""
    detectors: list[Annotated[Detector, Slot("detectors")]] = slot("detectors", DETECTORS)
    """What looks for drift, and for people who are none."""
