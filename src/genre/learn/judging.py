"""One policy judged by one log: every estimator's value with its interval, and how far the log can tell at all."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from genre.component import name_of
from genre.errors import DataError
from genre.estimators import Estimate, Estimator, Evidence
from genre.learn.intervals import diagnosed, difference, interval, warnings
from genre.learn.logchecks import agreeing, check_chance, check_propensities, check_rewards
from genre.learnsection import LearnSection


def judged(
    evidence: Evidence, section: LearnSection, where: str, supported: bool = False, seed: int = 0
) -> dict[str, Any]:
    """Values by estimator, beside what the log earned, with the diagnostics of the weights and what to mistrust.

    ``supported`` judges a log without chance where both policies show the same. Raises `DataError` for a log that
    cannot tell.
    """
    if not len(evidence):
        raise DataError(f"{where}: there is no slate to judge by")
    check_rewards(evidence.reward.ravel(), where)
    check_propensities(evidence.logged.ravel(), where)
    notes = []
    if supported:
        kept = agreeing(evidence.target)
        if not kept.any():
            raise DataError(f"{where}: there is no slate that the judged policy might show too")
        notes.append(
            f"judged on the {kept.mean():.0%} of the slates that the policy might show too: what those earn, which is "
            "not what the policy would earn"
        )
        evidence = evidence.where(kept)
    else:
        check_chance(evidence.logged, where)
    found = diagnosed(evidence.weights)
    logging = Estimate.mean(evidence.reward.sum(1), np.ones(len(evidence)))
    result: dict[str, Any] = {"logging": _said(logging, evidence, section, seed), "diagnostics": found}
    result["values"], left = {}, {}
    for estimator in section.estimators:
        if estimator.needs != "propensities" and (evidence.expected is None or evidence.predicted is None):
            left[name_of(estimator)] = "needs the columns predicted and expected, of a reward model"
            continue
        result["values"][name_of(estimator)] = against(estimator, evidence, section, seed)
    return {**result, "left_out": left, "warnings": [*notes, *warnings(found)]}


def against(estimator: Estimator, evidence: Evidence, section: LearnSection, seed: int) -> dict[str, Any]:
    """An estimator's value with its interval, and its gain over what the log earned, paired, with its own."""
    estimate = estimator.estimate(evidence)
    logging = Estimate.mean(evidence.reward.sum(1), np.ones(len(evidence)))
    gain = _said(difference(estimate, logging), evidence, section, seed)
    return {**_said(estimate, evidence, section, seed), "gain": gain}


def _said(estimate: Estimate, evidence: Evidence, section: LearnSection, seed: int) -> dict[str, Any]:
    ends = interval(estimate, evidence.person, section.interval, section.level, seed=seed)
    value = estimate.value
    ci = None if not all(map(math.isfinite, ends)) else list(ends)
    return {"value": value if math.isfinite(value) else None, "ci": ci}
