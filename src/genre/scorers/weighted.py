"""A weighted sum of the sources' scores."""

from __future__ import annotations

import numpy as np
from pydantic import NonNegativeFloat, PositiveInt

from genre.component import component
from genre.types import Bools, Floats, Ints, State


@component
class Weighted:
    """Each source's scores are standardised for each person, weighed and summed; the weights are learned if not given.

    They are learned on validation by maximum likelihood of what came next (a convex problem, so always the same).
    `reciprocal_rank` needs no learning and ignores by how much one item beats another.
    """

    weights: dict[str, float] | None = None
    """Weight of each source by name; larger counts more. None given learns them."""
    reg: NonNegativeFloat = 1e-3
    """Pull of the learned weights to zero; larger trusts validation less."""
    most_people: PositiveInt = 4000
    """People to learn from at most; more are steadier and slower."""

    def fit(self, scores: dict[str, Floats], allowed: Bools, targets: list[Ints]) -> State:
        if self.weights is not None:
            return {"weights": np.array([self.weights.get(name, 0.0) for name in scores], dtype=np.float32)}
        from scipy.optimize import minimize

        # A target that no source may show teaches nothing, whatever the weights.
        targets = [one[allowed[i, one]] for i, one in enumerate(targets)]
        rows = np.array([i for i, one in enumerate(targets) if len(one)][: self.most_people])
        if not len(rows):
            return {"weights": np.ones(len(scores), dtype=np.float32)}
        stack = np.stack([standardised(score[rows], allowed[rows]) for score in scores.values()])
        owner = np.concatenate([np.full(len(targets[r]), i) for i, r in enumerate(rows)])
        chosen = np.concatenate([targets[r] for r in rows])
        arguments = (stack, allowed[rows], owner, chosen, self.reg)
        best = minimize(
            _loss, np.ones(len(stack)), args=arguments, jac=True, method="L-BFGS-B", bounds=[(0, None)] * len(stack)
        )
        return {"weights": best.x.astype(np.float32)}

    def score(self, state: State, scores: dict[str, Floats], allowed: Bools) -> Floats:
        total = np.zeros(allowed.shape, dtype=np.float32)
        for weight, score in zip(state["weights"], scores.values(), strict=True):
            if weight:
                total += weight * standardised(score, allowed)
        return np.where(allowed, total, -np.inf)


def standardised(scores: Floats, allowed: Bools) -> Floats:
    """Mean 0 and deviation 1 over each person's allowed items; a constant score and one that is not finite become 0."""
    good = allowed & np.isfinite(scores)
    values = np.where(good, scores, 0.0).astype(np.float32)
    n = np.maximum(good.sum(1, keepdims=True), 1)
    mean = values.sum(1, keepdims=True) / n
    centred = np.where(good, values - mean, 0.0)
    deviation = np.sqrt(np.square(centred).sum(1, keepdims=True) / n)
    return (centred / np.where(deviation > 1e-12, deviation, np.inf)).astype(np.float32)


def _loss(
    weights: Floats, stack: Floats, allowed: Bools, owner: Ints, chosen: Ints, reg: float
) -> tuple[float, np.ndarray]:
    """Mean of -log softmax of what was chosen, over allowed items, and its gradient in the weights."""
    total = np.where(allowed, np.tensordot(weights.astype(stack.dtype), stack, 1), -np.inf)
    total -= total.max(1, keepdims=True)
    odds = np.exp(total)
    share = odds / odds.sum(1, keepdims=True)
    picked = share[owner, chosen]
    mean = np.einsum("sbn,bn->sb", stack, share, optimize=True)
    gradient = (mean[:, owner] - stack[:, owner, chosen]).mean(1, dtype=np.float64)
    loss = -np.log(np.maximum(picked, 1e-12)).mean(dtype=np.float64) + reg * float(weights @ weights)
    return float(loss), gradient + 2 * reg * weights
