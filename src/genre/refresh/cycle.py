"""From a run to the next: its log and what happened since, its model trained on, both compared, and a gate."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import TypeAdapter

from genre.component import Slot
from genre.config import Config
from genre.data import Dataset
from genre.datasets import Reader, Reading
from genre.errors import GenreError
from genre.evaluate import evaluate
from genre.files import digest, replacing_folder, seal, unseal, write_json, write_text
from genre.prepare import prepare
from genre.rank import rank
from genre.refresh.drift import Happened, report_of
from genre.refresh.figures import pictures
from genre.refresh.gate import guard_named, judged, tests
from genre.refresh.log import Grown, drift_of, facts_of, grown, reader_of, write
from genre.refreshsection import RefreshSection
from genre.run import Run
from genre.train import train

FORMAT = 1
"""Version of the layout of ``refresh/gate`` of a run."""
REMEDY = "genre refresh"
SAME = ("events", "valid_from", "test_from", "parts")
"""Facts of a log by which it is known again."""
Tell = Callable[[str], None]
Read = Callable[[Run, Dataset], Reading]
"""Gives what a run learned from and what happened since."""


@dataclass(frozen=True)
class Refreshed:
    """The run that a refresh made, and what its gate says."""

    run: Run
    result: dict[str, Any]

    @property
    def open(self) -> bool:
        """Whether it may be published."""
        return bool(self.result["gate"]["open"])


def refresh(
    last: Run, read: Read, section: RefreshSection | None = None, tell: Tell = print, store: Any = None
) -> Refreshed:
    """Make the next run of a family, or finish the one that was begun.

    Nothing of the last run changes. Raises `GenreError` where too little is new, or a stage cannot be done; what is
    finished by then stays, and the same call goes on from there.
    """
    if last.config.model.formulation.reads == "rows":
        raise GenreError(
            f"{last.folder}: model.formulation is text, which recommends nothing; train it on a longer log"
        )
    section = replace(section or last.config.refresh, start=last.folder.resolve())
    for name in section.guarded:
        guard_named(name)
    run = _begun(last) or _begin(last, read, section, store)
    tell(f"{last.folder.name} -> {run.folder}")
    for stage in (prepare, train, rank, evaluate):
        started = time.perf_counter()
        stage(run.config, run)
        tell(f"{stage.__name__}: {time.perf_counter() - started:.1f} s")
    result = gated(run, last)
    tell(result["gate"]["sentence"])
    return Refreshed(run, result)


def gated(run: Run, last: Run | None = None) -> dict[str, Any]:
    """Compare a refreshed run with the one that it came from, unless that is done; the result.

    Raises `GenreError` for a run that was not made by a refresh.
    """
    if run.config.refresh.start is None:
        raise GenreError(f"{run.folder}: did not come from another run, so there is nothing to compare it with")
    last = last or Run.open(run.config.refresh.start)
    section = TypeAdapter(RefreshSection).dump_python(run.config.refresh, mode="json")
    hashes = {f"{one.folder.name}.{stage}": _hash(one, stage) for one in (last, run) for stage in ("data", "rank")}
    inputs = {"section": section, **hashes, "log": facts_of(run.path("refresh") / "log"), "seed": run.config.seed}
    run.do("refresh/gate", inputs, lambda folder: _compare(run, last, folder))
    return result_of(run)


def result_of(run: Run) -> dict[str, Any]:
    """What the gate found. Raises `RunError` where it is missing or damaged."""
    folder = run.path("refresh") / "gate"
    unseal(folder, FORMAT, f"{REMEDY} {run.config.refresh.start or run.folder}")
    return json.loads((folder / "refresh.json").read_text(encoding="utf-8"))


def family(run: Run) -> str:
    """The name that a run and those made from it share."""
    return run.config.name if run.config.refresh.start is None else re.sub(r"-\d+$", "", run.config.name)


def _made_from(last: Run) -> Iterator[Run]:
    """The runs that came from ``last``, finished or not."""
    for manifest in sorted(last.folder.resolve().parent.glob(f"{family(last)}-*/manifest.json")):
        run = Run.open(manifest.parent)
        start = run.config.refresh.start
        if start is not None and start.resolve() == last.folder.resolve():
            yield run


def _begun(last: Run) -> Run | None:
    """The run that was made from ``last`` and is not finished."""
    return next((run for run in _made_from(last) if not _finished(run)), None)


def _finished(run: Run) -> bool:
    return (run.path("refresh") / "gate" / "manifest.json").exists()


def _begin(last: Run, read: Read, section: RefreshSection, store: Any) -> Run:
    """A new run folder with its log, whose configuration is that of the last but for where it begins.

    Where there is one of the same events and settings, finished, that is the one.
    """
    data = Dataset.load(last.path("data"))
    made = grown(last, data, read(last, data), section)
    for run in _made_from(last):
        known = facts_of(run.path("refresh") / "log")
        if run.config.refresh == section and all(known[name] == made.facts[name] for name in SAME):
            return run
    home = last.folder.resolve().parent
    # A folder without a manifest is what a kill has left of one that was about to be begun.
    numbered = re.compile(re.escape(family(last)) + r"-(\d+)")
    found = [numbered.fullmatch(path.parent.name) for path in home.glob("*/manifest.json")]
    name = f"{family(last)}-{max([1, *(int(one[1]) for one in found if one)]) + 1}"
    log = home / name / "refresh" / "log"
    drift = _drift(made, last.config.model.template, section)
    write(made, log, str(data.manifest["name"]), data, drift)
    reader = reader_of(log, str(data.manifest.get("licence") or ""))
    return Run.create(_config(last.config, name, reader, section, store), home)


def _config(config: Config, name: str, reader: Reader, section: RefreshSection, store: Any) -> Config:
    """The settings of the last run, but those of a training that goes on."""
    rate = config.train.lr.rest_finetune * section.rate
    rates = replace(config.train.lr, backbone=config.train.lr.backbone * section.rate, rest=rate, rest_finetune=rate)
    training = replace(config.train, warmup_epochs=section.warmup_epochs, epochs=section.epochs, lr=rates)
    data = replace(config.data, reader=reader, split=Slot("splits").build("given"))
    serve = config.serve if store is None else replace(config.serve, store=store)
    return replace(config, name=name, data=data, train=training, refresh=section, serve=serve)


def _compare(run: Run, last: Run, folder: Path) -> None:
    """Write what is found; the pictures too, so that nothing has to be asked again to draw them."""
    section = run.config.refresh
    metrics = [guard_named(name) for name in section.guarded]
    gate = judged(tests(last, run, metrics), section, run.config.seed)
    facts = facts_of(run.path("refresh") / "log")
    result = {
        "from": {"run": last.folder.name, "folder": str(last.folder.absolute()), "data": _hash(last, "data")},
        "run": run.config.name,
        "log": facts,
        "gate": gate,
        "drift": drift_of(run.path("refresh") / "log"),
    }
    with replacing_folder(folder) as aside:
        write_json(aside / "refresh.json", result)
        for name, svg in pictures(result).items():
            write_text(aside / f"{name}.svg", svg)
        seal(aside, FORMAT)


def _drift(made: Grown, template: str, section: RefreshSection) -> list[dict[str, Any]]:
    """The new events beside the old ones."""
    log, new = made.interactions, pa.array(made.new)
    before, now = (Happened.of(log.filter(rows)) for rows in (pc.call_function("invert", [new]), new))
    return report_of(before, now, made.items, template, section.detectors)


def _hash(run: Run, stage: str) -> str:
    return digest(json.loads((run.path(stage) / "manifest.json").read_text(encoding="utf-8")))
