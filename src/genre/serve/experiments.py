"""Experiments: who is in which arm, and what came of it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from genre.store.records import Experiment, Outcome

RESAMPLES = 1000


@dataclass(frozen=True)
class Arm:
    """One of the things that are compared."""

    name: str
    model: str
    """Name of the model that answers; empty for the one that is active."""
    share: float
    policy: bool | None = None
    """Whether the policy chooses its slates; None as for everybody else."""


def arms_of(settings: dict[str, Any]) -> list[Arm]:
    """The arms of an experiment's settings."""
    return [
        Arm(one["name"], one.get("model") or "", float(one["share"]), one.get("policy")) for one in settings["arms"]
    ]


def interleaves(experiment: Experiment) -> bool:
    """Whether each slate is of both arms."""
    return experiment.settings.get("kind") == "interleaving"


def share_of(name: str, unit: str) -> float:
    """Where a unit stands between 0 and 1: the same each time, and anew for each experiment."""
    number = hashlib.blake2b(f"{name}\0{unit}".encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(number, "big") / 2**64


def arm_for(experiment: Experiment, unit: str) -> Arm | None:
    """The arm of a unit; None for those whom the shares leave out."""
    at = share_of(experiment.name, unit)
    for arm in arms_of(experiment.settings):
        if at < arm.share:
            return arm
        at -= arm.share
    return None


@dataclass(frozen=True)
class ArmResult:
    """How one arm fared."""

    arm: str
    units: int
    slates: int
    hits: float
    rate: float | None
    ci95: tuple[float, float] | None
    """Bootstrap over units; None for fewer than two."""


@dataclass(frozen=True)
class Difference:
    """One arm beside the first."""

    arm: str
    beside: str
    difference: float | None
    ci95: tuple[float, float] | None
    verdict: str
    """``better``, ``worse`` or ``no difference`` (the interval holds 0)."""


def results(
    experiment: Experiment, outcomes: Sequence[Outcome], seed: int = 7
) -> tuple[list[ArmResult], list[Difference]]:
    """The rate of slates that were answered to in each arm, and each arm beside the first.

    A unit's slates belong together, so units are drawn anew, with all of theirs (ratio of sums).
    """
    names = [arm.name for arm in arms_of(experiment.settings)]
    rng = np.random.default_rng(seed)
    drawn = {name: _resampled([one for one in outcomes if one.arm == name], rng) for name in names}
    told = [_told(name, [one for one in outcomes if one.arm == name], drawn[name]) for name in names]
    return told, [_beside(told[0], one, drawn[told[0].arm], drawn[one.arm]) for one in told[1:]]


def _resampled(outcomes: Sequence[Outcome], rng: np.random.Generator) -> Any:
    if len(outcomes) < 2:
        return None
    pairs = np.array([(one.slates, one.hits) for one in outcomes], dtype=np.float64)
    # Units that fared alike are drawn together, so that the table has as many columns as there are ways to fare.
    kinds, counts = np.unique(pairs, axis=0, return_counts=True)
    weights = rng.multinomial(len(outcomes), counts / len(outcomes), RESAMPLES)
    return (weights @ kinds[:, 1]) / np.maximum(weights @ kinds[:, 0], 1)


def _told(name: str, outcomes: Sequence[Outcome], drawn: Any) -> ArmResult:
    slates, hits = sum(one.slates for one in outcomes), sum(one.hits for one in outcomes)
    rate = hits / slates if slates else None
    return ArmResult(name, len(outcomes), slates, hits, rate, None if drawn is None else _between(drawn))


def _beside(first: ArmResult, other: ArmResult, drawn_first: Any, drawn_other: Any) -> Difference:
    if first.rate is None or other.rate is None or drawn_first is None or drawn_other is None:
        return Difference(other.arm, first.arm, None, None, "no difference")
    low, high = _between(drawn_other - drawn_first)
    verdict = "better" if low > 0 else "worse" if high < 0 else "no difference"
    return Difference(other.arm, first.arm, other.rate - first.rate, (low, high), verdict)


def _between(values: Any) -> tuple[float, float]:
    low, high = np.quantile(values, [0.025, 0.975])
    return float(low), float(high)
