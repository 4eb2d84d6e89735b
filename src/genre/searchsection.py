"""The section `search`: how the values that a file leaves open are searched."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt

from genre.component import Slot
from genre.pruners import Pruner
from genre.searchers import Searcher
from genre.sections import section, slot

COSTS = ("train_seconds", "latency_ms", "size_mb")
"""Objectives that are no measure of quality; less is better of each."""
PIPELINE = "pipeline.ndcg@10"
"""The objective that judges the whole pipeline, on validation cases held out from its scorer."""
BY_HISTORY, BY_POPULARITY = "history", "popularity"
"""Groups that every log has: people by how much is known of them, items by how often they were chosen in training."""


@dataclass(frozen=True)
class Gap:
    """A fairness gap: the mean of a metric in the group that is served best, less that in the group served worst."""

    metric: str
    by: str
    """What makes the groups: ``history``, ``popularity``, or a column of the users."""

    @classmethod
    def of(cls, objective: str) -> Gap | None:
        """Read ``gap.ndcg@10.history``; None where that is no gap. A column's name may have dots in it."""
        word, _, rest = objective.partition(".")
        metric, _, by = rest.partition(".")
        return cls(metric, by) if word == "gap" else None


@section
class SearchSection:
    """How `genre search` tries values for what the file leaves open by ``{search: ...}``."""

    searcher: Annotated[Searcher, Slot("searchers")] = slot("searchers", "tpe")
    """What is tried next: a grid, chance, Bayesian (tpe, gp), genetic or evolutionary (cmaes) search."""
    objectives: list[str] = field(default_factory=list)
    """What shall be good on validation: a metric (``ndcg@10``, ``stars.rmse``), ``pipeline.ndcg@10`` of the whole
    pipeline, ``gap.ndcg@10.history``, ``train_seconds``, ``latency_ms`` of one person or text, ``size_mb`` of what was
    trained. The first decides the winner. A gap is how far a metric of the rankings lies apart, in the mean, between
    the group that is served best and the one served worst: people by the length of their ``history`` or by a column of
    the users (``gap.ndcg@10.gender``), items by ``popularity``; smaller is fairer, and groups of fewer than 20 cases do
    not count. None given is `train.early_stopping.metric`, or the pipeline's where its settings are open."""
    pruner: Annotated[Pruner, Slot("pruners")] = slot("pruners", "median")
    """Which trials are stopped early; asked where there is one objective, which the training watches."""
    trials: PositiveInt = 40
    """Most trials; more find better values, ever more slowly."""
    minutes: PositiveFloat | None = None
    """Most minutes of trials, over all starts of the same search; what runs then is finished. None is no limit."""
    workers: PositiveInt = 1
    """Trials at a time, each in a process of its own; more are faster up to the cores and memory that are free."""
    leaders: PositiveInt = 3
    """Best trials that are trained again, beside the defaults, to see which is best and not just lucky."""
    repeats: Annotated[int, Field(ge=2)] = 3
    """Times that each of them is trained again, with other seeds; more tell smaller differences from luck."""
    retries: NonNegativeInt = 1
    """Times that a trial is begun again whose process was killed; then it is recorded as failed."""
    baselines: bool = True
    """Whether each of `evaluate.baselines` is searched with as many trials, where rankings are judged."""
    storage: Annotated[str, Field(pattern=r"^\w+(\+\w+)?://")] | None = None
    """Where trials are kept, as a database URL (``postgresql+psycopg://host/db``) that several machines share; none is
    a journal in the run folder."""
