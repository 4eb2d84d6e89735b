"""What a log must have so that a policy can be judged by it, and propensities where it has none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from genre.errors import DataError
from genre.estimators import Doubles
from genre.types import Bools, Ints

SURE = 1 - 1e-6
"""A propensity from here on means that nothing else could have been shown."""


def check_rewards(reward: Doubles, where: str) -> None:
    """Raise `DataError` for a reward that is not a finite number."""
    bad = np.flatnonzero(~np.isfinite(reward))
    if len(bad):
        raise DataError(f"{where}, row {bad[0] + 1}: the reward {reward[bad[0]]} is no finite number ({len(bad)} rows)")


def check_propensities(propensity: Doubles, where: str) -> None:
    """Raise `DataError` that names the first row whose propensity is missing, 0 or less, or above 1."""
    for bad, what, mend in (
        (np.isnan(propensity), "is missing", "log it, or set learn.propensities: estimated"),
        (propensity <= 0, "is not above 0", "what was shown had a chance; log that chance, or leave the row out"),
        (propensity > 1 + 1e-9, "is above 1", "it is a probability: log the share of times that this is shown here"),
    ):
        rows = np.flatnonzero(bad)
        if len(rows):
            value = propensity[rows[0]]
            raise DataError(f"{where}, row {rows[0] + 1}: the propensity {value:g} {what} ({len(rows)} rows); {mend}")


def check_chance(propensity: Doubles, where: str) -> None:
    """Raise `DataError` where nearly all slates, ``[n, k]``, were shown without chance: they tell of nothing else."""
    sure = float((propensity >= SURE).all(1).mean()) if len(propensity) else 0.0
    if sure > 0.99:
        raise DataError(
            f"{where}: {sure:.0%} of the slates had the propensity 1. A policy without chance shows nothing of "
            "what another would have earned, so that other cannot be judged. Log with a policy that explores "
            "(learn.policy: softmax); --supported judges it where both show the same, which is another question"
        )


@dataclass(frozen=True)
class Fitted:
    """Propensities that a model estimates."""

    propensity: Doubles
    facts: dict[str, Any]
    """How good they are: ``log_loss`` beside that of the items' ``shares`` alone, ``temperature``, the largest gap of
    ``calibration``."""


def estimated(items: Ints, contexts: Doubles, person: Ints, folds: int = 5, seed: int = 0) -> Fitted:
    """The chance that each row's item was shown, from what is known of the person: ``[rows]``.

    A logistic regression that has not seen the row's person, calibrated by one temperature; items that it has not seen
    get their smoothed share. Right only if what it reads is all that the logging policy chose by.
    """
    from scipy.optimize import minimize_scalar
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    if len(np.unique(person)) < folds:
        raise DataError(f"too few people to estimate propensities: {len(np.unique(person))}; it takes {folds}")
    names, code = np.unique(items, return_inverse=True)
    if len(names) < 2:
        raise DataError("the log shows one item alone, so there is no choice whose probability could be estimated")
    contexts = StandardScaler().fit_transform(contexts)
    people, number = np.unique(person, return_inverse=True)
    fold = np.random.default_rng(seed).permutation(len(people))[number] % folds
    logits = np.full((len(items), len(names)), -30.0)
    shares = np.zeros((len(items), len(names)))
    for one in range(folds):
        out = fold == one
        counts = np.bincount(code[~out], minlength=len(names)) + 1.0
        shares[out] = counts / counts.sum()
        seen = np.unique(code[~out])
        if len(seen) > 1:
            model = LogisticRegression(C=0.1, max_iter=500).fit(contexts[~out], code[~out])
            said = model.decision_function(contexts[out])
            logits[np.ix_(out, seen)] = said if said.ndim == 2 else np.stack([np.zeros(len(said)), said], 1)

    def loss(logarithm: float) -> float:
        return _loss(_tempered(logits, shares, float(np.exp(logarithm))), code)

    temperature = float(np.exp(minimize_scalar(loss, bounds=(-2, 3), method="bounded").x))  # pyright: ignore[reportAttributeAccessIssue]
    chance = _tempered(logits, shares, temperature)
    own, losses = chance[np.arange(len(code)), code], (_loss(chance, code), _loss(shares, code))
    facts = {"log_loss": losses[0], "shares": losses[1], "temperature": temperature, "calibration": _gap(chance, code)}
    return Fitted(own, facts)


def _tempered(logits: Doubles, shares: Doubles, temperature: float, least: float = 0.02) -> Doubles:
    """Chances of all items, with a small part of their shares so that none is 0."""
    scaled = logits / temperature
    scaled = np.exp(scaled - scaled.max(1, keepdims=True))
    return (1 - least) * scaled / scaled.sum(1, keepdims=True) + least * shares


def _loss(chance: Doubles, code: Any) -> float:
    return -float(np.log(chance[np.arange(len(code)), code]).mean())


def _gap(chance: Doubles, code: Any, bins: int = 10) -> float:
    """Largest gap between how often items are shown and how often it is said, over tenths of all pairs by chance."""
    shown = np.zeros(chance.shape, dtype=bool)
    shown[np.arange(len(code)), code] = True
    order = np.argsort(chance, axis=None)
    said, true = chance.ravel()[order], shown.ravel()[order]
    pieces = zip(np.array_split(said, bins), np.array_split(true, bins), strict=True)
    return max(abs(float(a.mean()) - float(b.mean())) for a, b in pieces if len(a))


def agreeing(target: Doubles) -> Bools:
    """The slates that the judged policy might show as well: ``[n]``."""
    return np.asarray((target > 0).all(1))
