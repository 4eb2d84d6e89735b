"""Matrix factorisation by pairs: what was chosen above what was not."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from pydantic import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt
from scipy import sparse

from genre.component import component
from genre.data import Histories, Log
from genre.sources import Resources
from genre.types import Floats, State


@component
class BPR:
    """A vector a user and item, such that chosen items score above others: the classic that papers compare with.

    People are answered from their history alone: the map from the mean of their items' vectors to their own is fitted
    by least squares on the people of the log. `ials` is better on most logs and needs less tuning. Rendle et al.
    (2009), https://arxiv.org/abs/1205.2618; fitted by the implicit library.
    """

    top_k: PositiveInt = 300
    """Candidates to retrieve; more miss less and cost time."""
    factors: PositiveInt = 64
    """Length of the vectors; larger holds more and over-fits sooner."""
    learning_rate: PositiveFloat = 0.05
    """Step of the gradient descent; larger learns rare items sooner and is less steady."""
    reg: NonNegativeFloat = 0.01
    """Penalty on the vectors' length; larger over-fits less."""
    iterations: PositiveInt = 100
    """Passes over the interactions; more come closer to the optimum, then over-fit."""
    threads: PositiveInt = 1
    """Cores to train on; with more than one the result differs a little from run to run."""
    seed: NonNegativeInt = 7
    """Seed of the first vectors and of the pairs drawn."""
    GRID: ClassVar[dict[str, list[Any]]] = {"learning_rate": [0.02, 0.05, 0.1], "reg": [0.001, 0.003, 0.01, 0.03]}

    def fit(self, log: Log, resources: Resources) -> State:
        from implicit.cpu.bpr import BayesianPersonalizedRanking
        from threadpoolctl import threadpool_limits

        matrix = log.matrix()
        if not matrix.nnz:
            vectors = np.zeros((log.n_items, self.factors), dtype=np.float32)
            return {"items": vectors, "bias": vectors[:, 0].copy(), "fold": np.eye(self.factors, dtype=np.float32)}
        # The library runs its own threads and warns unless BLAS keeps to one.
        with threadpool_limits(1, "blas"):
            model = BayesianPersonalizedRanking(
                factors=self.factors,
                learning_rate=self.learning_rate,
                regularization=self.reg,
                iterations=self.iterations,
                random_state=self.seed,
                num_threads=self.threads,
            )
            model.fit(matrix, show_progress=False)
        # The library keeps an item's bias as a last factor, for which everyone's own is 1.
        items = np.ascontiguousarray(model.item_factors[:, :-1], dtype=np.float32)
        people = np.asarray(model.user_factors)[:, :-1]
        means = _means(matrix, items)
        left = means.T @ means + np.eye(self.factors, dtype=np.float32)
        fold = np.linalg.solve(left, means.T @ people).astype(np.float32)
        return {"items": items, "bias": np.array(model.item_factors[:, -1], dtype=np.float32), "fold": fold}

    def score(self, state: State, histories: Histories, resources: Resources) -> Floats:
        items = state["items"]
        people = _means(histories.matrix(len(items)), items) @ state["fold"]
        # Of someone without a history the bias, which is popularity, would be all that is said: `popular` says it.
        known = (histories.lengths > 0)[:, None]
        return np.where(known, people @ items.T + state["bias"], 0).astype(np.float32)


def _means(chosen: sparse.csr_matrix, items: Floats) -> Floats:
    """Mean vector of each person's items; zero where there are none."""
    counts = np.diff(chosen.indptr)[:, None]
    return np.asarray((chosen @ items) / np.maximum(counts, 1), dtype=np.float32)
