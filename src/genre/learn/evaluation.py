"""`genre learn evaluate`: what a policy would have earned, by a run's log or by a table of one's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from genre.component import describe
from genre.config import Config
from genre.data import PARTS
from genre.errors import DataError
from genre.estimators import Evidence
from genre.files import write_json
from genre.learn.decisions import Decisions, decisions, of_part
from genre.learn.judging import judged
from genre.learn.logchecks import check_propensities, check_rewards, estimated
from genre.learn.targeting import evidence
from genre.learnsection import LearnSection
from genre.rows import Rejected, columns_of, need, numbers
from genre.run import Run
from genre.types import State

ESTIMATED = "the propensities were estimated: right only if what wrote the log chose by what the estimate reads alone"


def evaluate(config: Config, run: Run, supported: bool = False) -> dict[str, Any]:
    """Judge ``learn.policy`` by the slates of the test part, after it has learned from the others.

    Writes ``learn/evaluate.json`` of the run.
    """
    found = decisions(config, run)
    asked = of_part(found, "test")
    policy = config.learn.policy
    made, _ = evidence(asked, policy, taught(config, found), config.seed)
    result = judged(made, config.learn, "interactions", supported, config.seed)
    result = {"policy": describe(policy), **result, **found.facts}
    if "propensities" in found.facts:
        result["warnings"].insert(0, ESTIMATED)
    write_json(run.path("learn") / "evaluate.json", result)
    return result


def taught(config: Config, found: Decisions) -> State:
    """The state of ``learn.policy`` after the feedback of all slates before the test part."""
    policy = config.learn.policy
    state = policy.start(found.n_items, found.dim)
    before = found.where(found.part != PARTS.index("test"))
    return policy.update(state, before.feedback()) if len(before) else state


def evaluate_table(path: Path, section: LearnSection, supported: bool = False) -> dict[str, Any]:
    """Judge a policy by a table with a row a shown item: ``reward``, and ``target``, the policy's probability of it.

    Also ``propensity`` (else it is estimated from ``item_id`` and columns named ``context_...``), ``slate_id`` and
    ``position`` for slates, ``user_id``, ``predicted`` and ``expected`` of a reward model.
    """
    rejected: Rejected = []
    columns = columns_of(path, rejected)
    if rejected:
        one = rejected[0]
        raise DataError(f"{path}:{one['line']}: {one['reason']}; a table to judge by must be whole")
    need(
        columns, ["reward", "target"], path, "name them so; target is the judged policy's probability of the shown item"
    )
    reward, target = (_column(columns, name, path) for name in ("reward", "target"))
    if (bad := np.flatnonzero(~((target >= 0) & (target <= 1)))).size:
        raise DataError(f"{path}, row {bad[0] + 1}: target is {target[bad[0]]}, and it is a probability")
    rows = len(reward)
    check_rewards(reward, str(path))
    person = _codes(columns, "user_id", rows, "slate_id")
    facts: dict[str, Any] = {}
    if section.propensities == "estimated" or "propensity" not in columns:
        propensity = _estimated(columns, path, person, facts)
    else:
        propensity = _column(columns, "propensity", path)
        check_propensities(propensity, str(path))
    model = {name: _column(columns, name, path) for name in ("predicted", "expected") if name in columns}
    made = _gathered(columns, {"reward": reward, "target": target, "logged": propensity, **model}, person)
    result = {"file": str(path), **judged(made, section, str(path), supported), **facts}
    if facts:
        result["warnings"].insert(0, ESTIMATED)
    return result


def _estimated(columns: dict[str, list[Any]], path: Path, person: Any, facts: dict[str, Any]) -> Any:
    names = [name for name in columns if name.startswith("context_")]
    if not names or "item_id" not in columns:
        raise DataError(
            f"{path}: no column 'propensity', and to estimate it takes item_id and numbers named context_...; log the "
            "probability with which each item was shown"
        )
    contexts = np.stack([_column(columns, name, path) for name in names], 1)
    fitted = estimated(_codes(columns, "item_id", len(contexts)), contexts, person)
    facts["propensities"] = fitted.facts
    return fitted.propensity


def _gathered(columns: dict[str, list[Any]], values: dict[str, Any], person: Any) -> Evidence:
    """Rows of one slate side by side, by position."""
    rows = len(person)
    slate = _codes(columns, "slate_id", rows)
    position = _column(columns, "position", Path()) if "position" in columns else np.zeros(rows)
    order = np.lexsort((np.arange(rows), position, slate))
    slate = slate[order]
    place = np.arange(rows) - np.searchsorted(slate, slate)
    shape = (int(slate.max(initial=-1)) + 1, int(place.max(initial=-1)) + 1)
    tables: dict[str, Any] = {}
    for name, column in values.items():
        table = np.full(shape, 1.0 if name in ("target", "logged") else 0.0)
        table[slate, place] = column[order]
        tables[name] = table
    who = np.zeros(shape[0], dtype=np.int32)
    who[slate] = person[order]
    return Evidence(**tables, person=who)


def _codes(columns: dict[str, list[Any]], *names: Any) -> Any:
    """A number for each distinct word of the first column that is there; each row its own where none is."""
    rows = next(one for one in names if isinstance(one, int))
    for name in names:
        if name in columns:
            return np.unique(np.array(list(map(str, columns[name]))), return_inverse=True)[1].astype(np.int32)
    return np.arange(rows, dtype=np.int32)


def _column(columns: dict[str, list[Any]], name: str, path: Path) -> Any:
    """Numbers; NaN where missing. Raises `DataError` for a word."""
    import pyarrow as pa

    values, bad = numbers(pa.chunked_array([pa.array(columns[name])]))
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        raise DataError(f"{path}:{columns['line'][row]}: {name} is {columns[name][row]!r}, and it is a number")
    return values
