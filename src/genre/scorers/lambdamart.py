"""Boosted trees that learn to put first what came next."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt

from genre.candidates import Candidates
from genre.component import component
from genre.types import Bools, Floats, State, Terms
from genre.weighing import Indices, fit_weights, standardised_scores, weighed_terms

if TYPE_CHECKING:
    import lightgbm

WEIGHT_REG = 1e-3
"""Pull to zero of the weights that the trees start from."""

LOOKED_AT = 50_000
"""Candidates that tell how much the trees move beside what they start from."""


@component
class LambdaMART:
    """Trees over the sources' scores and all features, each placed where it mends NDCG most.

    It starts from what `weighted` would say and learns when to trust which source more than that (a long history, a
    rare item, a sure score), which no weighing can. The people are dealt into ``folds``; each ensemble learns from all
    others, stops by its own fold, and their mean decides: every person is learned from, and no one chance draw says
    when to stop. With some hundred people it keeps few trees and is `weighted`, slower; it gains with thousands.
    Burges (2010), https://www.microsoft.com/en-us/research/publication/from-ranknet-to-lambdarank-to-lambdamart-an-overview/;
    trees by LightGBM.
    """

    trees: PositiveInt = 400
    """Most trees of an ensemble; fewer are kept where the fold it stops by says so."""
    leaves: Annotated[int, Field(ge=2)] = 15
    """Leaves of a tree; more find finer rules and over-fit sooner."""
    rate: PositiveFloat = 0.05
    """Step of each tree; larger needs fewer trees and is coarser."""
    least: PositiveInt = 50
    """Candidates a leaf must hold; larger over-fits less."""
    start: NonNegativeFloat = 1.0
    """How much the weighted sum of the scores that the trees correct counts; 0 starts them from nothing."""
    reg: NonNegativeFloat = 1.0
    """Pull of the leaves to zero; larger over-fits less."""
    patience: PositiveInt = 30
    """Trees without a better result on the fold before stopping; larger waits longer."""
    folds: Annotated[int, Field(ge=2)] = 5
    """Ensembles; more are steadier and cost time in proportion."""
    negatives: PositiveInt = 100
    """Candidates a person to learn from beside those chosen, drawn at random; more are steadier and slower."""
    top: PositiveInt = 200
    """Candidates a person that the trees read, the best of what they start from; the others stay below them in the
    order of the start. More lets the trees lift what stood low, and costs time in proportion."""
    most_people: PositiveInt = 30_000
    """People to learn from at most; more are steadier and slower."""
    seed: int = 7
    """Of folds and samples."""

    reads: ClassVar[Literal["scores", "features"]] = "features"

    def fit(self, candidates: Candidates, chosen: Bools) -> State:
        people = candidates.total(chosen.astype(np.float32)) > 0
        fold = np.full(len(people), -1)
        order = np.random.default_rng(self.seed).permutation(int(people.sum()))
        fold[np.flatnonzero(people)[order]] = np.arange(len(order)) % self.folds
        columns = matrix(candidates)
        weights = fit_weights(candidates, chosen, WEIGHT_REG)
        share = np.zeros(columns.shape[1], dtype=np.float32)
        share[: len(weights)] = weights / max(float(weights.sum()), 1e-12)
        if len(order) < 2 * self.folds:
            return {"shares": share, "weights": weights}
        start = self.start * (weights @ standardised_scores(candidates))
        made = [self._ensemble(candidates, columns, start, chosen, fold, i) for i in range(self.folds)]
        written = [one.model_to_string(num_iteration=one.best_iteration).encode() for one in made]
        state = {f"trees{i}": np.frombuffer(text, dtype=np.uint8) for i, text in enumerate(written)}
        gain = np.sum([one.feature_importance("gain", iteration=one.best_iteration) for one in made], axis=0)
        some = slice(0, LOOKED_AT)
        moved, spread = float(_said(state, columns[some]).std()), float(start[some].std())
        trees = moved / max(moved + spread, 1e-12)
        share = (1 - trees) * share + trees * gain / max(gain.sum(), 1e-12)
        return {"shares": share.astype(np.float32), "weights": weights, **state}

    def _ensemble(
        self, candidates: Candidates, columns: Floats, start: Floats, chosen: Bools, fold: np.ndarray, i: int
    ) -> lightgbm.Booster:
        """Trees learned from all folds but one, as many as that one finds best."""
        import lightgbm

        def part(people: np.ndarray, reference: Any = None) -> lightgbm.Dataset:
            rows = people[candidates.owner]
            sizes = np.diff(candidates.offsets)[people]
            labels, before = chosen[rows].astype(np.int32), start[rows]
            return lightgbm.Dataset(columns[rows], labels, reference=reference, group=sizes, init_score=before)

        learned = part((fold >= 0) & (fold != i))
        stop = lightgbm.early_stopping(self.patience, verbose=False)
        held = part(fold == i, learned)
        return lightgbm.train(self._parameters(), learned, self.trees, [held], callbacks=[stop])

    def _parameters(self) -> dict[str, Any]:
        return {
            "objective": "lambdarank",
            "metric": "ndcg",
            "eval_at": [10],
            "lambdarank_truncation_level": 20,
            "num_leaves": self.leaves,
            "learning_rate": self.rate,
            "min_data_in_leaf": self.least,
            "lambda_l2": self.reg,
            "feature_fraction": 0.7,
            "bagging_fraction": 0.8,
            "bagging_freq": 1,
            "seed": self.seed,
            "deterministic": True,
            "force_row_wise": True,
            "verbose": -1,
        }

    def score(self, state: State, candidates: Candidates) -> Floats:
        weighed = state["weights"] @ standardised_scores(candidates)
        if "trees0" not in state or not len(candidates):
            return weighed
        read = candidates.places(weighed) <= self.top
        said, some, rest = np.empty_like(weighed), candidates.keep(read), candidates.keep(~read)
        said[read] = self.start * weighed[read] + _said(state, matrix(some))
        # What the trees did not read comes in its own order, a step below the lowest that they did.
        lowest = np.where(np.diff(some.offsets) > 0, -some.best(-said[read]), 0.0)
        said[~read] = weighed[~read] + (lowest - 1 - rest.best(weighed[~read]))[rest.owner]
        return said

    def terms(self, state: State, candidates: Candidates, asked: Indices) -> Terms:
        weighed = state["weights"] @ standardised_scores(candidates)
        if "trees0" not in state:
            return weighed_terms(state["weights"], candidates, asked)
        read = (candidates.places(weighed) <= self.top)[asked]
        scale = np.where(read, np.float32(self.start), np.float32(1))
        made = weighed_terms(state["weights"], candidates, asked, scale)
        # The trees did not read the others: those are shifted below what they did read.
        base = (self.score(state, candidates) - weighed)[asked]
        each = np.zeros((len(asked), len(candidates.scores) + len(candidates.features)), dtype=np.float32)
        if read.any():
            shares = _shares(state, matrix(candidates)[asked[read]])
            each[read], base[read] = shares[:, :-1], shares[:, -1]
        return replace(made, base=base, trees=dict(zip(columns_of(candidates), each.T, strict=True)))

    def shares(self, state: State) -> Floats:
        return state["shares"]


def _said(state: State, columns: Floats) -> Floats:
    """What the ensembles say of each candidate, their mean."""
    written = [state[name] for name in sorted(state) if name.startswith("trees")]
    said = [np.asarray(_booster(text.tobytes()).predict(columns)) for text in written]
    return np.stack(said).mean(0).astype(np.float32)


def _shares(state: State, columns: Floats) -> Floats:
    """What each column adds to what the ensembles say (exact TreeSHAP), and last what they start from, their means.

    Lundberg et al. (2020), https://doi.org/10.1038/s42256-019-0138-9.
    """
    written = [state[name] for name in sorted(state) if name.startswith("trees")]
    said = [np.asarray(_booster(text.tobytes()).predict(columns, pred_contrib=True)) for text in written]
    return np.stack(said).mean(0).astype(np.float32)


def columns_of(candidates: Candidates) -> list[str]:
    """The names of the columns of `matrix`."""
    return [*candidates.scores, *candidates.features]


def matrix(candidates: Candidates) -> Floats:
    """All columns side by side: ``[candidates, scores and features]``, NaN where something is not known."""
    columns = [*candidates.scores.values(), *candidates.features.values()]
    return np.stack(columns, axis=1).astype(np.float32, copy=False)


@lru_cache(maxsize=32)
def _booster(text: bytes) -> lightgbm.Booster:
    import lightgbm

    return lightgbm.Booster(model_str=text.decode())
