"""The baselines, searched with as many trials as the model, before it: what it has to beat is known from the start."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from genre.component import name_of
from genre.files import write_json
from genre.search.crew import Work
from genre.search.loop import Search, sole
from genre.search.timeleft import measuring_seconds
from genre.searchsection import COSTS, PIPELINE, Gap
from genre.validation import Measure

BASELINE = "genre.search.trial:baseline"


def rivals(search: Search, call: str = BASELINE) -> dict[str, list[dict[str, Any]]]:
    """Every trial of every baseline, those that were done before too; none where no ranking is judged."""
    config, section, home = search.config, search.section, search.home / "baselines"
    judged = judge_of(search.objectives[0])
    ranks = config.model.formulation.reads != "rows" and Measure.of(judged).head is None
    if not section.baselines or not ranks:
        return {}
    names = list(dict.fromkeys(name_of(one) for one in config.evaluate.baselines))
    files = {name: home / f"{name.replace(':', '.')}.json" for name in names}
    todo = [name for name in names if not _kept(files[name], section.trials)]
    if todo:
        plain = search.document(search.space.of({}).values, config.seed)
        given = {"values": plain, "folder": str(search.home), "trials": section.trials, "objective": judged}
        works = [Work(name, call, {**given, "source": name}, home / "log.txt") for name in todo]
        for name, news in search.work_off(works, "baseline").items():
            if news.kind == "done":
                write_json(files[name], {"budget": section.trials, **news.data})
    return {name: _json(file)["trials"] for name, file in files.items() if file.exists()}


def rivals_first(search: Search) -> None:
    """Search the baselines, and learn from them how long a run takes to be measured."""
    search.ready()
    with sole(search.home / "lock", search.section.storage is None):
        search.tested = measuring_seconds(rivals(search))


def judge_of(objective: str) -> str:
    """The measure of rankings that baselines are judged by, for the first objective of the model."""
    if gap := Gap.of(objective):
        return gap.metric
    return "ndcg@10" if objective in (*COSTS, PIPELINE) else objective


def _kept(file: Path, budget: int) -> bool:
    return file.exists() and _json(file)["budget"] == budget


def _json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))
