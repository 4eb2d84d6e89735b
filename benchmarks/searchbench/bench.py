"""A space on which searchers are compared: what was prepared, the table of its trainings, whole searches of it."""

from __future__ import annotations

import json
import math
import shutil
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from genre.component import Slot, describe, names
from genre.configfile import Searched, read_space
from genre.files import digest, write_json
from genre.prepare import prepare
from genre.run import Run
from genre.search.crew import LocalWorkers, Workers
from genre.search.ending import saved
from genre.search.loop import FOLDER, TRIAL, Search, objectives_of
from genre.search.trial import withhold
from genre.space import facts_of
from searchbench.ontest import on_test
from searchbench.table import POINTS, Table, kept_texts, on_lattice

NOTHING = 42
"""Trials that do nothing, to time the machinery."""
TRAINED = 7
"""Seed of every training."""
AGAIN = (8, 9, 10)
"""Seeds with which the defaults are trained again, to see how much of a number is luck."""


def nothing(values: dict[str, Any], folder: str, objectives: list[str], watch: Any) -> dict[str, Any]:
    """A trial that costs nothing and comes to what its rate is."""
    return {"values": dict.fromkeys(objectives, values["train"]["lr"]["rest"]), "epochs": 1, "train_seconds": 0.0}


@dataclass(frozen=True)
class Bench:
    """One space, what was prepared for it, and the table of its trainings."""

    found: Searched
    home: Run
    """The run with the data, from which every search begins."""
    table: Table
    trials: int

    @classmethod
    def of(cls, config: Path, given: list[str], root: Path, trials: int, call: str = TRIAL) -> Bench:
        """Read, prepare, and open the table of what was trained."""
        kept_texts()
        found = read_space(config, [f"seed={TRAINED}", *given])
        settled = replace(found.config, data=replace(found.config.data, seed=found.config.data.seed or TRAINED))
        found = replace(found, config=settled)
        home = Run.create(replace(settled, name="data"), root / config.stem)
        prepare(settled, home)
        withhold(home.path("data"), home.path(FOLDER) / "data")
        return cls(found, home, Table(home.path(FOLDER), found.space, TRAINED, call), trials)

    def fitting(self) -> list[str]:
        """The searchers that can search the space."""
        facts = facts_of(self.found.space, 1)
        return [name for name in names("searchers") if Slot("searchers").build(name).unfit(facts) is None]

    def search(self, searcher: str, pruner: str, seed: int) -> dict[str, Any]:
        """The trials of one search, in order: values, the best so far, epochs; as it was kept where it was done."""
        words = {one.name: one.words() for one in self.found.space.parameters.values()}
        ways = [describe(built("searchers", searcher)), describe(built("pruners", pruner))]
        key = digest([self.home.manifest["config"], words, ways, seed, self.trials])
        kept = self.home.folder.parent / "searches" / f"{key[:20]}.json"
        if kept.exists():
            return json.loads(kept.read_text(encoding="utf-8"))
        found = self.once(searcher, pruner, seed, self.trials, self.table)
        write_json(kept, found)
        return found

    def once(
        self, searcher: str, pruner: str, seed: int, trials: int, workers: Workers, call: str = TRIAL
    ) -> dict[str, Any]:
        """A whole search of `genre search`, with workers of one's own."""
        section = replace(
            self.found.config.search,
            searcher=built("searchers", searcher),
            pruner=built("pruners", pruner),
            trials=trials,
        )
        config = replace(self.found.config, name="now", seed=seed, search=section)
        folder = self.home.folder.parent / config.name
        shutil.rmtree(folder, ignore_errors=True)
        # What was prepared serves every search.
        shutil.copytree(self.home.folder, folder, ignore=shutil.ignore_patterns("*.jsonl", "trials", "models"))
        run, began = Run.create(config, folder.parent), time.perf_counter()
        search = Search(config, run, self.found.space, workers, lambda text: None, call=call)
        done = search.run_trials()
        seconds = time.perf_counter() - began
        found = {"seed": seed, "larger": search.larger[0], **story(done.all(), search.larger[0])}
        shutil.rmtree(folder)
        return {**found, "seconds": round(seconds, 2)}

    def machinery(self) -> float:
        """Seconds that a trial takes which does nothing: asking, handing out, hearing, keeping."""
        spent = []
        for trials in (2, NOTHING):
            crew = LocalWorkers(1)
            try:
                spent.append(self.once("tpe", "none", 1, trials, crew, "searchbench.bench:nothing")["seconds"])
            finally:
                crew.close()
        return max(0.0, spent[1] - spent[0]) / (NOTHING - 2)

    def document(self, chosen: dict[str, Any], seed: int = TRAINED) -> dict[str, Any]:
        """The setting that is trained where so much was chosen."""
        space = self.found.space
        search = Search(self.found.config, self.home, space, self.table)
        return {**on_lattice(search.document(space.of(chosen).values, seed), space), "seed": seed}

    def luck(self) -> dict[str, Any]:
        """What the defaults come to with other seeds of training, and how far these lie apart."""
        values = [self.table.row(self.document({}), [self.objective])["data"]["values"][self.objective]]
        for seed in AGAIN:
            other = Table(self.table.folder, self.found.space, seed)
            values.append(other.row(self.document({}, seed), [self.objective])["data"]["values"][self.objective])
        return {"defaults": values, "standard_deviation": float(np.std(values, ddof=1))}

    def test(self, found: dict[str, list[dict[str, Any]]]) -> dict[str, list[float]]:
        """What the winner of each search that pruned nothing comes to on the test part, and the defaults."""
        winners = {key: [winner(run) for run in runs] for key, runs in found.items() if key.endswith("none")}
        return {key: [self._tested(one) for one in chosen] for key, chosen in {**winners, "defaults": [{}]}.items()}

    def _tested(self, chosen: dict[str, Any]) -> float:
        values = self.document(chosen)
        name = digest([self.home.manifest["stages"]["data"]["inputs"], values, self.objective])[:20]
        kept = self.home.folder.parent / "tests" / f"{name}.json"
        if not kept.exists():
            write_json(kept, on_test(values, self.home, name, self.objective))
            shutil.rmtree(kept.with_suffix(""))
        return json.loads(kept.read_text(encoding="utf-8"))

    @property
    def objective(self) -> str:
        """What is searched for."""
        return objectives_of(self.found.config, self.found.space)[0]

    def facts(self) -> dict[str, Any]:
        """What was searched, and what is in the table."""
        one = self.found.space
        seconds = [row["seconds"] for row in self.table.rows.values()]
        return {
            "name": self.found.config.name,
            "objective": self.objective,
            "space": {p.name: p.words() for p in one.parameters.values()},
            "settings": len(list(one.grid(POINTS))),
            "trained": len(seconds),
            "failed": sum(row["kind"] != "done" for row in self.table.rows.values()),
            "seconds_a_training": float(np.median(seconds)) if seconds else None,
        }


def built(kind: str, words: str) -> Any:
    """A component by its name, or with settings as in a file: ``{type: median, warmup: 1}``."""
    return Slot(kind).build(yaml.safe_load(words))


def winner(run: dict[str, Any]) -> dict[str, Any]:
    """What the best trial of a search chose."""
    return run["chosen"][run["values"].index(run["best"][-1])]


def story(trials: list[Any], larger: bool) -> dict[str, Any]:
    """Values of the trials in order, the best so far, how each ended, and the epochs they trained."""
    values = [one.values[0] if one.state.name == "COMPLETE" else math.nan for one in trials]
    worst = -math.inf if larger else math.inf
    known = np.array([worst if math.isnan(value) else value for value in values])
    best = (np.maximum if larger else np.minimum).accumulate(known)
    return {
        "values": [None if math.isnan(value) else value for value in values],
        "best": [value if math.isfinite(value) else None for value in best.tolist()],
        "states": [one.state.name.lower() for one in trials],
        "chosen": [one.params for one in trials],
        **saved(trials),
    }
