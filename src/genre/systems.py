"""Systems under test: anything that scores the items of a block of cases, and how its ranking is measured."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from genre.cases import Cases
from genre.clock import times
from genre.component import Slot
from genre.data import Log
from genre.metrics import Metric, Ranking, Values
from genre.parallel import team
from genre.pipeline import Pipeline
from genre.ranking import ranks, ranks_and_lists, top_lists
from genre.sources import Resources, Source
from genre.types import Floats, Ints, State

Score = Callable[[Cases], Floats]
"""Score of every item for a block of cases: ``[block, items]``; what is not finite sinks below the rest."""

LONGEST = 50
"""Places of the lists that are kept for metrics without a cut-off of their own."""


@dataclass(frozen=True)
class Catalogue:
    """What measures of rankings need to know of the items."""

    counts: Ints
    """``[items]``: interactions in training."""
    vectors: Floats
    """``[items, dim]``: unit vectors of their texts from the pretrained model."""
    items: Any = None
    """The items table, where measures may ask for it."""

    @classmethod
    def of(cls, train: Log, resources: Resources) -> Catalogue:
        """From the training part of a log."""
        counts = np.bincount(train.item[train.positive], minlength=train.n_items).astype(np.int32)
        return cls(counts, resources.text_vectors(), resources.items)


def of_source(source: Source, state: State, resources: Resources) -> Score:
    """A single source as a system."""
    return lambda cases: source.score(state, cases.histories, resources)


def of_pipeline(pipeline: Pipeline) -> Score:
    """The whole pipeline as a system; of an impression it ranks what was shown. Raises what a failing source raised."""

    def score(cases: Cases) -> Floats:
        within = None if cases.shown is None else cases.allowed()
        scores, trace = pipeline.score_block(cases.histories, within)
        trace.insist()
        return scores

    return score


@times("rank everybody")
def rank_cases(
    score: Score,
    cases: Cases,
    catalogue: Catalogue,
    longest: int = LONGEST,
    advance: Callable[[int], None] = lambda done: None,
) -> Ranking:
    """Rank all cases, a block at a time, so that memory stays bounded; ``advance`` hears how many are done.

    Several workers rank a stretch of the cases each.
    """
    found: list[Ints] = []
    lists: list[Ints] = []
    sizes: list[Ints] = []
    own = cases if team().alone else cases.take(team().stretch(len(cases)))
    with team().apart():
        for block in own.blocks():
            ranked, best, size = _rank_block(score(block), block, longest)
            found += ranked
            lists.append(best)
            sizes.append(size)
            advance(len(block))
    found, lists, sizes = (team().chained(one) for one in (found, lists, sizes))
    known = (catalogue.counts, catalogue.vectors, catalogue.items)
    return Ranking(found, np.concatenate(sizes), np.concatenate(lists), *known)


def _rank_block(scores: Floats, block: Cases, longest: int) -> tuple[list[Ints], Ints, Ints]:
    if block.shown is None:
        return ranks_and_lists(scores, block.histories.matrix(block.n_items), block.targets, longest)
    allowed = block.allowed()
    sizes = allowed.sum(1).astype(np.int32)
    return ranks(scores, allowed, block.targets), top_lists(scores, allowed, longest), sizes


def subset(ranking: Ranking, rows: np.ndarray, chosen: list[np.ndarray] | None = None) -> Ranking:
    """The ranking of some cases only, and within them of the ``chosen`` targets (a mask a case) only."""
    found = [ranking.ranks[i] if chosen is None else ranking.ranks[i][chosen[i]] for i in rows]
    return replace(ranking, ranks=found, n_candidates=ranking.n_candidates[rows], lists=ranking.lists[rows])


@times("metrics")
def measure(ranking: Ranking, metrics: Iterable[Metric]) -> Values:
    """Every value of the metrics that judge rankings."""
    return {name: v for m in metrics if m.needs == "ranking" for name, v in m.measure(ranking).items()}


def mean(values: np.ndarray) -> float | None:
    """Mean over the units where a value is defined; None where it is defined nowhere."""
    known = np.asarray(values, dtype=np.float64)
    known = known[np.isfinite(known)]
    return float(known.mean()) if known.size else None


def metric_named(name: str) -> Metric:
    """The metric that ``ndcg@10`` calls for."""
    return Slot("metrics").build(name)


def longest_list(metrics: Sequence[Metric]) -> int:
    """Places that the metrics look at."""
    cutoffs: list[Any] = [k for m in metrics if m.needs == "ranking" for k in getattr(m, "k", [])]
    return max(cutoffs, default=LONGEST)
