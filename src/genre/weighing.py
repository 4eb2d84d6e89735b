"""Weights of the sources' scores by maximum likelihood of what came next."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from genre.candidates import Candidates
from genre.types import Bools, Floats, Terms

Indices = NDArray[np.int64]


def standardised_scores(candidates: Candidates) -> Floats:
    """Each source's scores with mean 0 and deviation 1 within each person: ``[sources, candidates]``."""
    return np.stack([candidates.standardised(score) for score in candidates.scores.values()])


def weighed_terms(weights: Floats, candidates: Candidates, asked: Indices, scale: Floats | None = None) -> Terms:
    """The sum of the standardised scores, ``weights`` times ``scale`` (``[asked]``, else 1) each, as its terms."""
    scale = np.ones(len(asked), dtype=np.float32) if scale is None else scale
    each = weights[:, None] * scale
    adds = each * standardised_scores(candidates)[:, asked]
    by_source, counts = (dict(zip(candidates.scores, rows, strict=True)) for rows in (adds, each))
    return Terms(np.zeros(len(asked), dtype=np.float32), by_source, {}, counts)


def fit_weights(candidates: Candidates, chosen: Bools, reg: float) -> Floats:
    """Non-negative weights of the standardised scores, ``[sources]``: a convex problem, so always the same answer.

    People without a chosen candidate teach nothing; of nobody's choices all weights are 1. ``reg`` pulls to zero.
    """
    from scipy.optimize import minimize

    people = candidates.total(chosen) > 0
    candidates, chosen = candidates.of_people(people), chosen[people[candidates.owner]]
    if not len(candidates):
        return np.ones(len(candidates.scores), dtype=np.float32)
    stack = standardised_scores(candidates)
    start, bounds = np.ones(len(stack)), [(0, None)] * len(stack)
    best = minimize(loss, start, (stack, candidates, chosen, reg), "L-BFGS-B", jac=True, bounds=bounds)
    return best.x.astype(np.float32)


def loss(weights: Floats, stack: Floats, candidates: Candidates, chosen: Bools, reg: float) -> tuple[float, np.ndarray]:
    """Mean of -log softmax of what was chosen, over each person's candidates, and its gradient in the weights."""
    owner = candidates.owner
    total = weights.astype(np.float32) @ stack
    total -= candidates.best(total)[owner]
    odds = np.exp(total)
    share = odds / candidates.total(odds)[owner]
    # A person with several chosen items counts once for each of them.
    expected = share * candidates.total(chosen)[owner]
    gradient = (stack @ expected - stack[:, chosen].sum(1, dtype=np.float64)) / chosen.sum()
    value = -np.log(np.maximum(share[chosen], 1e-12)).mean(dtype=np.float64) + reg * float(weights @ weights)
    return float(value), gradient + 2 * reg * weights
