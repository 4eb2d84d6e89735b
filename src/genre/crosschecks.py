"""What no single setting can see: settings that contradict each other, and settings without effect."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from pydantic_core import PydanticCustomError

from genre.component import Slot, name_of, names, suggest
from genre.config import Config
from genre.errors import ConfigError
from genre.labels import Label
from genre.metrics import Metric
from genre.text import columns_of
from genre.yamlfile import KeyPath

Finding = tuple[KeyPath, str]
Given = Callable[[KeyPath], bool]
"""Whether the file, or an override, says something at a path; else its value is the default."""
HEAD_NAME = re.compile(r"[A-Za-z_]\w*")


def contradictions(config: Config, given: Given, wrong: Sequence[KeyPath]) -> Iterator[Finding]:
    """Every contradiction, with the path to report it at. Checks that would read a ``wrong`` path are left out."""
    for check, reads in CHECKS.items():
        if not any(_touches(at, path) for at in wrong for path in reads):
            yield from check(config, given)


def _touches(a: KeyPath, b: KeyPath) -> bool:
    shorter = min(len(a), len(b))
    return a[:shorter] == b[:shorter]


def notes(config: Config, given: Given = lambda at: True) -> Iterator[str]:
    """Settings that have no effect as the others stand: no mistake, since an ablation may want it so."""
    fine_tunes = given(("model", "adapter")) and name_of(config.model.adapter) != "frozen"
    if not config.model.text:
        if fine_tunes:
            yield "model.adapter has no effect, as model.text is false: the language model is not used"
    elif not config.train.epochs and fine_tunes:
        yield "model.adapter has no effect, as train.epochs is 0: the language model stays as it came"
    elif config.train.epochs and name_of(config.model.adapter) == "frozen":
        yield "train.epochs has no effect, as model.adapter is frozen: only the warm-up trains"


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
    if head is None:
        if metric.needs == "ranking":
            return None if fitting else f"'{key}' needs a head that ranks, such as next_item; model.heads has none"
        offer = f"as in '{fitting[0]}.{key}'" if fitting else f"but no head is {metric.needs}"
        return f"'{key}' measures one head; say which, {offer}"
    if head not in heads:
        return f"no head named '{head}'; {suggest(head, list(heads))}"
    if metric.needs == "ranking":
        return f"'{key}' measures the ranking, not one head; write '{key}'"
    if heads[head].predicts != metric.needs:
        return f"'{key}' needs a {metric.needs} head, and '{head}' is {heads[head].predicts}"
    return None


def _label_metrics(config: Config, given: Given) -> Iterator[Finding]:
    have = {head.predicts for head in config.model.heads.values()}
    for i, metric in enumerate(config.evaluate.metrics):
        # The default list holds a metric for every sort of head, so only what was asked for is held against it.
        if given(("evaluate", "metrics", i)) and metric.needs != "ranking" and metric.needs not in have:
            what = f"'{name_of(metric)}' needs a {metric.needs} head, and model.heads has none"
            yield ("evaluate", "metrics", i), what


def _any_head(config: Config, given: Given) -> Iterator[Finding]:
    if not config.model.heads:
        yield ("model", "heads"), "is empty; the model needs at least one task, such as next: next_item"


def _heads(config: Config, given: Given) -> Iterator[Finding]:
    for name, head in config.model.heads.items():
        at = ("model", "heads", name)
        if not HEAD_NAME.fullmatch(name):
            yield at, "a head's name is letters, digits and underscores, and starts with no digit"
        if head.label:
            try:
                Label.parse(head.label)
            except ValueError as error:
                yield (*at, "label"), str(error)


def _model_source(config: Config, given: Given) -> Iterator[Finding]:
    if any(head.predicts == "ranking" for head in config.model.heads.values()):
        return
    for i, source in enumerate(config.pipeline.sources):
        if name_of(source) == "model":
            at = ("pipeline", "sources", i) if given(("pipeline", "sources")) else ("model", "heads")
            where = "" if given(("pipeline", "sources")) else " (in pipeline.sources by default)"
            yield at, f"source 'model'{where} needs a head that ranks, such as next_item; model.heads has none"


def _weights(config: Config, given: Given) -> Iterator[Finding]:
    from genre.pipeline import named

    weights: Any = getattr(config.pipeline.scorer, "weights", None)
    known = list(named(config.pipeline.sources))
    for name in weights or {}:
        if name not in known:
            what = f"weighs a source that pipeline.sources does not have; {suggest(name, known)}"
            yield ("pipeline", "scorer", "weights", name), what


def _sources(config: Config, given: Given) -> Iterator[Finding]:
    if not config.pipeline.sources:
        yield ("pipeline", "sources"), "is empty; without a source there is nothing to recommend"


def _impressions(config: Config, given: Given) -> Iterator[Finding]:
    if config.evaluate.candidates == "impression" and name_of(config.data.split) != "impressions":
        what = f"'impression' needs data.split: impressions, and it is {name_of(config.data.split)}"
        yield ("evaluate", "candidates"), what


def _towers(config: Config, given: Given) -> Iterator[Finding]:
    if not config.model.text and not config.model.ids:
        yield ("model", "text"), "model.text and model.ids are both false, which leaves nothing to make item vectors of"


def _user_heads(config: Config, given: Given) -> Iterator[Finding]:
    user: Any = config.model.user
    if name_of(user) == "transformer" and config.model.dim % user.heads:
        yield ("model", "user", "heads"), f"{user.heads} does not divide model.dim, which is {config.model.dim}"


def _template(config: Config, given: Given) -> Iterator[Finding]:
    try:
        columns = columns_of(config.model.template)
    except ConfigError as error:
        yield ("model", "template"), str(error).partition(": ")[2]
        return
    if config.model.text and not columns:
        yield ("model", "template"), "names no column, so that all items would read alike; write one as {title}"


CHECKS: dict[Callable[[Config, Given], Iterator[Finding]], list[KeyPath]] = {
    _early_stopping: [("train", "early_stopping"), ("model", "heads")],
    _label_metrics: [("evaluate", "metrics"), ("model", "heads")],
    _any_head: [("model", "heads")],
    _heads: [],
    _model_source: [("pipeline", "sources"), ("model", "heads")],
    _weights: [("pipeline", "sources"), ("pipeline", "scorer")],
    _sources: [("pipeline", "sources")],
    _impressions: [("evaluate", "candidates"), ("data", "split")],
    _towers: [("model", "text"), ("model", "ids")],
    _user_heads: [("model", "user"), ("model", "dim")],
    _template: [("model", "template"), ("model", "text")],
}
"""Each check, with the settings it reads."""
