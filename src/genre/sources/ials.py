"""Matrix factorisation of implicit feedback."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
from pydantic import NonNegativeInt, PositiveFloat, PositiveInt

from genre.component import component
from genre.data import Histories, Log
from genre.sources import Resources
from genre.types import Floats, State

BLOCK = 64
"""People whose vectors are solved at a time."""


@component
class IALS:
    """A vector a user and item, by weighted alternating least squares; people are answered from their history alone.

    Fits catalogues too large for `ease`. Runs on every core unless ``OMP_NUM_THREADS`` says on how many. Hu, Koren and
    Volinsky (2008), https://doi.org/10.1109/ICDM.2008.22; fitted by the implicit library.
    """

    top_k: PositiveInt = 300
    """Candidates to retrieve; more miss less and cost time."""
    factors: PositiveInt = 64
    """Length of the vectors; larger holds more and over-fits sooner."""
    reg: PositiveFloat = 0.05
    """Penalty on the vectors' length; larger over-fits less."""
    alpha: PositiveFloat = 10.0
    """Weight of a chosen item over one that was not; larger trusts choices more."""
    iterations: PositiveInt = 15
    """Sweeps over users and items; more come closer to the optimum."""
    seed: NonNegativeInt = 7
    """Seed of the first vectors."""
    GRID: ClassVar[dict[str, list[Any]]] = {"factors": [32, 64], "reg": [0.01, 0.1], "alpha": [1.0, 5.0, 20.0]}

    def fit(self, log: Log, resources: Resources) -> State:
        from implicit.cpu.als import AlternatingLeastSquares
        from threadpoolctl import threadpool_limits

        # The library runs its own threads and warns unless BLAS keeps to one.
        with threadpool_limits(1, "blas"):
            model = AlternatingLeastSquares(
                factors=self.factors,
                regularization=self.reg,
                alpha=self.alpha,
                iterations=self.iterations,
                random_state=self.seed,
                num_threads=int(os.environ.get("OMP_NUM_THREADS") or 0),
            )
            model.fit(log.matrix(), show_progress=False)
        return {"items": np.ascontiguousarray(model.item_factors, dtype=np.float32)}

    def score(self, state: State, histories: Histories, resources: Resources) -> Floats:
        items = state["items"]
        gram = items.T @ items + self.reg * np.eye(items.shape[1], dtype=np.float32)
        # A few people at a time: the outer products of all that they chose are in memory at once.
        blocks = [histories.take(slice(i, i + BLOCK)) for i in range(0, len(histories), BLOCK)]
        people = [self._people(items, gram, block) for block in blocks]
        return np.concatenate([np.zeros((0, items.shape[1]), dtype=np.float32), *people]) @ items.T

    def _people(self, items: Floats, gram: Floats, histories: Histories) -> Floats:
        """Each person's vector x by the same least squares: ``(Y'Y + (alpha - 1) Yh'Yh + reg) x = alpha * sum(Yh)``.

        Y holds the vectors of all items, Yh those of the items in the person's history.
        """
        used, column = np.unique(histories.item, return_inverse=True)
        chosen = replace(histories, item=column.astype(np.int32)).matrix(len(used))
        mine = items[used]
        outer = np.einsum("nf,ng->nfg", mine, mine).reshape(len(used), gram.size)
        left = gram + (self.alpha - 1) * np.asarray(chosen @ outer).reshape(len(histories), *gram.shape)
        right = self.alpha * np.asarray(chosen @ mine)
        return np.linalg.solve(left, right[..., None])[..., 0].astype(np.float32)
