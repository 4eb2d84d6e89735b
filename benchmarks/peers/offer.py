"""A prepared run as a task for outside libraries, and what they reach, measured by the package's own code."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from genre.cases import Cases
from genre.component import Slot
from genre.data import Dataset, Log
from genre.files import digest, write_json
from genre.metrics import Metric
from genre.run import Run
from genre.systems import Catalogue, longest_list, measure, rank_cases
from genre.tuning import MOST_CASES

from .environment import HERE, Unavailable, program, python_of
from .exchange import LONGER, VERSION, Asked, Ragged, Task

METRICS = ("recall", "ndcg", "mrr", "hit_rate", "auc")
"""What peers are measured by: all that needs ranks alone."""
MOST_WORDS = 5000
"""Words that a hybrid may use, the most frequent that are in no more than a tenth of the items."""

Units = dict[str, NDArray[np.float64]]
"""Values of each metric for every test case."""


@dataclass(frozen=True)
class Budget:
    """What a peer may spend."""

    trials: int
    cap: float
    """Processor seconds a trial; the best one goes on for up to `LONGER` times that, and is then trained again."""
    threads: int

    def most_seconds(self) -> float:
        """Longest that a peer can take by the clock, about, where it uses its threads half of the time."""
        return self.cap * (self.trials + 2 * LONGER + 1) / max(1, self.threads / 2)


@dataclass(frozen=True)
class Offer:
    """A prepared run that peers stand beside."""

    run: Run
    data: Dataset
    log: Log
    cases: Cases

    @classmethod
    def of(cls, run: Run) -> Offer:
        """The data and the test of a run that has been prepared."""
        data = Dataset.load(run.path("data"))
        log = Log.of(data)
        return cls(run, data, log, Cases.of(log, "test", run.config.evaluate.candidates))

    def task(self) -> Task:
        """The same rows, validation cases and test cases that the package's own sources see."""
        candidates, seed = self.run.config.evaluate.candidates, self.run.config.seed
        valid = Cases.of(self.log, "valid", candidates).sample(MOST_CASES, seed)
        rows = {}
        for part in ("train", "valid"):
            log = self.log.parts(part)
            chosen = log.where(log.positive)
            rows[part] = (chosen.user, chosen.item)
        words, n_words = self._words()
        asked = {"valid": _asked(valid), "test": _asked(self.cases)}
        return Task(self.log.n_users, self.log.n_items, rows["train"], rows["valid"], words, n_words, asked)

    def _words(self) -> tuple[Ragged, int]:
        """Words of all that the items' table says in words."""
        texts: list[set[str]] = [set() for _ in range(self.log.n_items)]
        for name in self.data.items.column_names:
            if name != "item_id":
                for found, value in zip(texts, self.data.items[name].to_pylist(), strict=True):
                    parts = value if isinstance(value, list) else [value]
                    said = " ".join(part for part in parts if isinstance(part, str))
                    found.update(re.findall(r"\w+", said.lower()))
        counts = Counter(word for found in texts for word in found)
        usual = [word for word, n in counts.most_common() if 2 <= n <= max(2, self.log.n_items // 10)]
        number = {word: i for i, word in enumerate(usual[:MOST_WORDS])}
        return _lists([sorted(number[word] for word in found if word in number) for found in texts]), len(number)

    def peer(self, library: str, model: str, budget: Budget) -> tuple[Units, dict[str, Any]]:
        """What a peer reaches on test, and how; kept, so that it is not done again for the same data and budget.

        Raises `Unavailable` where the library cannot be installed or fails.
        """
        seed = self.run.config.seed
        pins = (HERE / f"requirements-{library}.txt").read_text(encoding="utf-8")
        how = {"trials": budget.trials, "cap": budget.cap, "threads": budget.threads, "seed": seed}
        key = digest([self.data.hash, self.run.config.evaluate.candidates, how, VERSION, pins])
        folder = self.run.folder / "peers" / f"{library}-{model}-{key[:12]}"
        if not (folder / "units.npz").exists():
            self._do(library, model, budget, folder)
        with np.load(folder / "units.npz") as file:
            units = dict(file)
        return units, json.loads((folder / "found.json").read_text(encoding="utf-8"))

    def _do(self, library: str, model: str, budget: Budget, folder: Path) -> None:
        python = python_of(library)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        self.task().save(folder / "task.npz")
        numbers = {"--model": model, "--trials": budget.trials, "--cap": budget.cap, "--seed": self.run.config.seed}
        command = [
            python,
            program(library),
            folder / "task.npz",
            folder,
            *(x for pair in numbers.items() for x in pair),
        ]
        threads = {name: str(budget.threads) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
        print(f"{library} {model}: at most about {budget.most_seconds() / 60:.0f} minutes", flush=True)
        with (folder / "log.txt").open("w", encoding="utf-8") as log:
            words = [str(word) for word in command]
            done = subprocess.run(words, stdout=log, stderr=log, env={**os.environ, **threads}, check=False)
        if done.returncode:
            last = [line for line in (folder / "log.txt").read_text(encoding="utf-8").splitlines() if line.strip()]
            raise Unavailable(f"{library} {model} failed, {folder / 'log.txt'}: {last[-1] if last else 'no message'}")
        scores = np.load(folder / "scores.npy", mmap_mode="r")
        started = time.perf_counter()
        units = self.measured(scores)
        found = json.loads((folder / "found.json").read_text(encoding="utf-8"))
        write_json(folder / "found.json", {**found, "measuring_seconds": round(time.perf_counter() - started, 1)})
        np.savez(folder / "unfinished.npz", **units)  # type: ignore[arg-type]
        for name in ("scores.npy", "task.npz", "saved", "task"):
            left = folder / name
            shutil.rmtree(left) if left.is_dir() else left.unlink(missing_ok=True)
        (folder / "unfinished.npz").rename(folder / "units.npz")

    def measured(self, scores: NDArray[np.float32]) -> Units:
        """Metrics of every test case, from scores of all items: ``[cases, items]``."""
        train = self.log.parts("train")
        counts = np.bincount(train.item[train.positive], minlength=self.log.n_items).astype(np.int32)
        catalogue = Catalogue(counts, np.zeros((self.log.n_items, 1), dtype=np.float32))
        metrics: list[Metric] = [Slot("metrics").build(name) for name in METRICS]
        done = [0]

        def score(block: Cases) -> NDArray[np.float32]:
            done[0] += len(block)
            return np.asarray(scores[done[0] - len(block) : done[0]])

        ranking = rank_cases(score, self.cases, catalogue, longest_list(metrics))
        return {name: np.asarray(v) for name, v in measure(ranking, metrics).items() if np.ndim(v)}

    def rare(self, fewer_than: int) -> NDArray[np.bool_]:
        """Cases all of whose targets had fewer interactions in training."""
        train = self.log.parts("train")
        counts = np.bincount(train.item[train.positive], minlength=self.log.n_items)
        return np.array([bool((counts[items] < fewer_than).all()) for items in self.cases.targets])


def _asked(cases: Cases) -> Asked:
    history = Ragged(cases.histories.offsets, cases.histories.item)
    shown = (
        None
        if cases.shown is None
        else Ragged(cases.shown.indptr.astype(np.int64), cases.shown.indices.astype(np.int32))
    )
    return Asked(cases.user, history, _lists(cases.targets), shown)


def _lists(lists: list[Any]) -> Ragged:
    offsets = np.concatenate([[0], np.cumsum([len(one) for one in lists])]).astype(np.int64)
    items = np.concatenate([np.zeros(0), *lists]).astype(np.int32) if lists else np.zeros(0, np.int32)
    return Ragged(offsets, items)
