"""What no single setting can see: settings that contradict each other, and settings without effect."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from pydantic_core import PydanticCustomError

from genre import executorchecks, modelchecks
from genre.component import Slot, find, name_of, names, suggest
from genre.compression.budgets import Budget
from genre.compression.formsteps import WHOLE, checked
from genre.config import LABEL_METRICS, Config
from genre.errors import ConfigError
from genre.metrics import Metric
from genre.modelchecks import Check, Finding, Given, formulation_of
from genre.searchsection import COSTS, PIPELINE, Gap
from genre.yamlfile import KeyPath, dotted

HEAD_NAME = re.compile(r"[A-Za-z_]\w*")


def contradictions(config: Config, given: Given, wrong: Sequence[KeyPath]) -> Iterator[Finding]:
    """Every contradiction, with the path to report it at. Checks that would read a ``wrong`` path are left out."""
    for check, reads in CHECKS.items():
        if not any(_touches(at, path) for at in wrong for path in reads):
            yield from check(config, given)


def _touches(a: KeyPath, b: KeyPath) -> bool:
    shorter = min(len(a), len(b))
    return a[:shorter] == b[:shorter]


BARE: list[KeyPath] = [("model", name) for name in ("user", "ids", "id_dropout", "max_history")]
BARE += [("train", "steps_per_round")]
NO_SLATES: list[KeyPath] = [("pipeline", name) for name in ("sources", "filters", "features", "scorer", "rerankers")]
NO_SLATES += [("evaluate", "baselines"), ("evaluate", "candidates")]
IDLE: dict[str, list[KeyPath]] = {"items": [], "rows": [*BARE, *NO_SLATES], "pairs": BARE}
"""Settings that a formulation has no use for, by what it reads."""


def notes(config: Config, given: Given) -> Iterator[str]:
    """Settings that have no effect as the others stand: no mistake, since an ablation may want it so."""
    fine_tunes = given(("model", "adapter")) and name_of(config.model.adapter) != "frozen"
    reads = config.model.formulation.reads
    if reads == "items" and not config.model.text:
        if fine_tunes:
            yield "model.adapter has no effect, as model.text is false: the language model is not used"
    elif not config.train.epochs and not config.train.contrastive_start and fine_tunes:
        yield "model.adapter has no effect, as train.epochs is 0: the language model stays as it came"
    elif config.train.epochs and name_of(config.model.adapter) == "frozen":
        yield "train.epochs has no effect, as model.adapter is frozen: only the warm-up trains"
    if given(("pipeline", "features")) and config.pipeline.scorer.reads == "scores":
        yield f"pipeline.features has no effect, as pipeline.scorer is {name_of(config.pipeline.scorer)}"
    yield from _idle(config, given)
    if reads == "pairs" and given(("model", "formulation", "liked")):
        prompt: str = getattr(config.model.formulation, "prompt", "")
        if "{liked" not in prompt and "{disliked" not in prompt:
            yield "model.formulation.liked has no effect, as the prompt has neither {liked} nor {disliked}"
    if reads == "pairs" and config.pipeline.rerank is None:
        yield "pipeline.rerank is not set, so what the cross model learns orders no recommendation; set it to use it"


def _idle(config: Config, given: Given) -> Iterator[str]:
    idle = [dotted(at) for at in IDLE[config.model.formulation.reads] if given(at)]
    if config.model.formulation.reads != "items" and name_of(config.model.towers) == "direct":
        idle += ["model.dim"] if given(("model", "dim")) else []
    if idle:
        have = "has" if len(idle) == 1 else "have"
        yield f"{', '.join(idle)} {have} no effect, as model.formulation is {formulation_of(config)}"


def _early_stopping(config: Config, given: Given) -> Iterator[Finding]:
    why = unmeasurable(config, config.train.early_stopping.metric)
    if why:
        yield ("train", "early_stopping", "metric"), why


def unmeasurable(config: Config, name: str) -> str | None:
    """Why ``ndcg@10`` or ``head.metric`` cannot be what training watches; None if it can."""
    head, dot, key = name.rpartition(".")
    word = key.partition("@")[0]
    if word not in names("metrics"):
        return f"no metric named '{word}'; {suggest(word, names('metrics'))}"
    try:
        metric: Metric = Slot("metrics").build(key)
    except PydanticCustomError as error:
        reason = f"'{key}' has no cut-off to set" if error.type == "component_fields" else error.message()
        return f"{reason}; write '{word}'" if error.type == "component_fields" else reason
    if hasattr(metric, "k") and "@" not in key:
        return f"say at which cut-off, as in '{key}@10'"
    if metric.larger_is_better is None:
        return f"'{key}' is neither good nor bad in itself, so it cannot tell when to stop"
    return _unanswered(config, metric, head if dot else None, key)


def _unanswered(config: Config, metric: Metric, head: str | None, key: str) -> str | None:
    """Why no head, or not the head named, gives what ``metric`` measures."""
    heads = config.model.heads
    fitting = [name for name, one in heads.items() if one.predicts == metric.needs]
    if metric.needs == "ranking" and config.model.formulation.reads != "items":
        what = f"'{key}' ranks all items, and a {formulation_of(config)} model ranks none while it is trained"
        return f"{what}; watch a head instead, {_watchable(config)}"
    if head is None:
        if metric.needs == "ranking":
            return None if fitting else f"'{key}' needs a head that ranks, such as next_item; model.heads has none"
        offer = f"as in '{fitting[0]}.{key}'" if fitting else f"but no head is {metric.needs}"
        return f"'{key}' measures one head; say which, {offer}"
    if head not in heads:
        return f"no head named '{head}'; {suggest(head, list(heads))}"
    return _unlike(metric, head, heads[head].predicts, key)


def _unlike(metric: Metric, head: str, predicts: str, key: str) -> str | None:
    """Why a metric does not measure what a head predicts."""
    if metric.needs == "ranking":
        return f"'{key}' measures the ranking, not one head; write '{key}'"
    if predicts != metric.needs:
        return f"'{key}' needs a {metric.needs} head, and '{head}' is {predicts}"
    return None


def _watchable(config: Config) -> str:
    """A measure of a head that can be watched, to offer."""
    metrics = {name: Slot("metrics").build(name) for name in LABEL_METRICS}
    for head, one in config.model.heads.items():
        if found := [name for name, metric in metrics.items() if metric.needs == one.predicts]:
            return f"as in '{head}.{found[0]}'"
    return "such as stars.rmse of a regression head"


def _metrics(config: Config, given: Given) -> Iterator[Finding]:
    have = {head.predicts for head in config.model.heads.values()}
    ranks = config.model.formulation.reads != "rows"
    for i, metric in enumerate(config.evaluate.metrics):
        at, name = ("evaluate", "metrics", i), name_of(metric)
        # The default list holds a metric for every sort of head, so only what was asked for is held against it.
        if not given(at):
            continue
        if metric.needs == "ranking" and not ranks:
            yield at, f"'{name}' measures rankings, and text ranks nothing; name measures of heads, such as rmse"
        elif metric.needs != "ranking" and metric.needs not in have:
            yield at, f"'{name}' needs a {metric.needs} head, and model.heads has none"


def _head_names(config: Config, given: Given) -> Iterator[Finding]:
    for name in config.model.heads:
        if not HEAD_NAME.fullmatch(name):
            what = "a head's name is letters, digits and underscores, and starts with no digit"
            yield modelchecks.place_of(name), what


def _weights(config: Config, given: Given) -> Iterator[Finding]:
    from genre.pipeline import named

    weights: Any = getattr(config.pipeline.scorer, "weights", None)
    known = list(named(config.pipeline.sources))
    for name in weights or {}:
        if name not in known:
            what = f"weighs a source that pipeline.sources does not have; {suggest(name, known)}"
            yield ("pipeline", "scorer", "weights", name), what


def _sources(config: Config, given: Given) -> Iterator[Finding]:
    if not config.pipeline.sources and config.model.formulation.reads != "rows":
        yield ("pipeline", "sources"), "is empty; without a source there is nothing to recommend"


def _features(config: Config, given: Given) -> Iterator[Finding]:
    has_vectors = config.model.formulation.reads == "items"
    for i, feature in enumerate(config.pipeline.features):
        if getattr(feature, "vectors", None) == "finetuned" and not has_vectors:
            what = f"finetuned needs model.formulation: two_tower, and it is {formulation_of(config)}"
            yield ("pipeline", "features", i, "vectors"), what


def _rerankers(config: Config, given: Given) -> Iterator[Finding]:
    has_vectors = config.model.formulation.reads == "items"
    for i, one in enumerate(config.pipeline.rerankers):
        if getattr(one, "vectors", None) == "finetuned" and not has_vectors:
            what = f"finetuned needs model.formulation: two_tower, and it is {formulation_of(config)}"
            yield ("pipeline", "rerankers", i, "vectors"), what


def _impressions(config: Config, given: Given) -> Iterator[Finding]:
    if config.evaluate.candidates == "impression" and name_of(config.data.split) != "impressions":
        what = f"'impression' needs data.split: impressions, and it is {name_of(config.data.split)}"
        yield ("evaluate", "candidates"), what


def _forms(config: Config, given: Given) -> Iterator[Finding]:
    """Steps that cannot follow each other, or be done to this language model."""
    if not given(("compress", "forms")):
        return
    for name, steps in config.compress.forms.items():
        if name == WHOLE:
            yield (
                ("compress", "forms", name),
                "is the name of the whole model, which stands beside the forms; take another",
            )
        try:
            checked(steps, modelchecks.shape_of(config), config.model.formulation.reads)
        except ValueError as error:
            yield ("compress", "forms", name), str(error)


def _budget(config: Config, given: Given) -> Iterator[Finding]:
    if config.compress.budget is not None:
        try:
            Budget.parse(config.compress.budget)
        except ConfigError as error:
            yield ("compress", "budget"), str(error).removeprefix("budget: ")


def _objectives(config: Config, given: Given) -> Iterator[Finding]:
    """Objectives of a search that nothing measures, and a pruner that would have nothing to judge by."""
    objectives, metric = config.search.objectives, config.train.early_stopping.metric
    if not given(("search",)):
        return
    for i, name in enumerate(objectives):
        at = ("search", "objectives", i)
        if objectives.index(name) < i:
            yield at, "given twice"
        elif name == PIPELINE and config.model.formulation.reads == "rows":
            yield at, "model.formulation is text, which has no pipeline; name a measure of a head, such as stars.rmse"
        elif gap := Gap.of(name):
            if why := _no_gap(config, gap):
                yield at, why
        elif name not in (*COSTS, PIPELINE) and (why := unmeasurable(config, name)):
            yield at, f"{why}; or one of {', '.join((*COSTS, PIPELINE))}, or gap.ndcg@10.history"
    if given(("search", "pruner")) and name_of(config.search.pruner) != "none" and objectives not in ([], [metric]):
        mend = f"set train.early_stopping.metric: {objectives[0]}" if len(objectives) == 1 else "take none"
        yield ("search", "pruner"), f"judges by what training watches, {metric}, as the one objective; {mend}"


def _no_gap(config: Config, gap: Gap) -> str | None:
    """Why a fairness gap cannot be measured; None if it can. What columns the users have the data say, later."""
    if not gap.metric or not gap.by:
        return "a gap is of a metric between groups; write gap.ndcg@10.history, .popularity or a column of the users"
    word = gap.metric.partition("@")[0]
    if word in names("metrics") and find("metrics", word).needs != "ranking":
        return f"'{gap.metric}' measures one head, and a gap is of rankings; take ndcg@10, recall@10 or mrr@10"
    return unmeasurable(config, gap.metric)


CHECKS: dict[Check, list[KeyPath]] = {
    _objectives: [("search",), ("train", "early_stopping"), ("model", "heads"), ("model", "formulation")],
    _early_stopping: [("train", "early_stopping"), ("model", "heads"), ("model", "formulation")],
    _metrics: [("evaluate", "metrics"), ("model", "heads"), ("model", "formulation")],
    _head_names: [],
    _weights: [("pipeline", "sources"), ("pipeline", "scorer")],
    _sources: [("pipeline", "sources"), ("model", "formulation")],
    _features: [("pipeline", "features"), ("model", "formulation")],
    _rerankers: [("pipeline", "rerankers"), ("model", "formulation")],
    _impressions: [("evaluate", "candidates"), ("data", "split")],
    _forms: [("compress", "forms"), ("model", "backbone")],
    _budget: [("compress", "budget")],
    **modelchecks.CHECKS,
    **executorchecks.CHECKS,
}
"""Each check, with the settings it reads."""
