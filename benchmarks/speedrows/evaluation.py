"""Full ranking of every user over every item: 4 metrics at 4 cut-offs from given scores, beside RecBole and a loop.

The people, histories and targets are those of Amazon Video Games where it is there, else drawn to its shape. The scores
are products of random vectors plus the popularity of the items, so that no file of 3.4 GB is needed: every way is given
the same ones a block at a time, and the time in which a block of them is made does not count for anyone. RecBole's own
collector and evaluator (https://recbole.io) run in the side environment, once as its loader divides the people by
default (one at a time, as a catalogue is larger than its 4,096 pairs) and once with blocks as large as ours.
"""

from __future__ import annotations

import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from genre.cases import Cases
from genre.component import Slot
from genre.config import DataSection
from genre.data import Log
from genre.errors import GenreError
from genre.prepare import build
from genre.systems import Catalogue, Score, mean, measure, rank_cases
from peers.asking import Asked
from peers.environment import Unavailable, python_of
from scale import World
from speedrows import table

SHAPE = (50_546, 16_859)
"""People and items of Amazon Video Games."""
METRICS = ("recall", "ndcg", "mrr", "hit_rate")
CUTS = (5, 10, 20, 50)
DIM = 64
EVERY = 25
"""The loop is run for one in so many people, as each of them takes it as long; its seconds are multiplied."""
JUDGE = Path(__file__).parent.parent / "peers" / "judging_recbole.py"
GAMES = {
    "type": "sequences",
    "path": "amazon-video-games-titles/sequences.tsv.gz",
    "items": "amazon-video-games-titles/items.tsv.gz",
    "action": "purchase",
}


@dataclass(frozen=True)
class Task:
    """Whom to rank for, and what makes the scores."""

    cases: Cases
    catalogue: Catalogue
    people: np.ndarray
    items: np.ndarray
    what: str

    @classmethod
    def of(cls, share: float) -> Task:
        """The real people, or drawn ones; a ``share`` of them."""
        cases, counts, what = _games()
        rng = np.random.default_rng(7)
        some = cases.take(np.arange(round(len(cases) * share)))
        items = rng.standard_normal((cases.n_items, DIM), dtype=np.float32)
        people = rng.standard_normal((len(some), DIM), dtype=np.float32)
        # The last columns add the popularity, so that targets are found more often than by chance.
        items[:, -1], people[:, -1] = 8 * np.log1p(counts), 1.0
        return cls(some, Catalogue(counts, np.zeros((cases.n_items, 1), dtype=np.float32)), people, items, what)

    def scores(self) -> tuple[Score, list[float]]:
        """The score function of `rank_cases`, and a list that gets the seconds of each block of scores."""
        seconds: list[float] = []
        done = [0]

        def score(block: Cases) -> np.ndarray:
            started = time.perf_counter()
            made = self.people[done[0] : done[0] + len(block)] @ self.items.T
            done[0] += len(block)
            seconds.append(time.perf_counter() - started)
            return made

        return score, seconds


def _games() -> tuple[Cases, np.ndarray, str]:
    section = DataSection(reader=Slot("datasets").build(GAMES))
    try:
        log = Log.of(build(section.reader.read(), section, seed=7))
    except GenreError:
        return _drawn()
    counts = np.bincount(log.before("test").item, minlength=log.n_items).astype(np.int32)
    return Cases.of(log, "test"), counts, "Amazon Video Games: its people, histories and targets; drawn scores"


def _drawn() -> tuple[Cases, np.ndarray, str]:
    n_users, n_items = SHAPE
    log = World.of(n_items, n_users=n_users).log
    counts = np.bincount(log.before("test").item, minlength=n_items).astype(np.int32)
    return Cases.of(log, "test"), counts, "drawn people and scores of Amazon Video Games' shape"


class Ours:
    """`rank_cases` and the metrics, as the evaluation calls them."""

    def __init__(self, task: Task, longest: int) -> None:
        self.task, self.longest = task, longest
        self.metrics = [Slot("metrics").build({"type": name, "k": list(CUTS)}) for name in METRICS]
        self.values: dict[str, float | None] = {}
        self.scoring = 0.0

    def run(self) -> float:
        """Once over all people, without the time in which scores are made."""
        score, seconds = self.task.scores()
        started = time.perf_counter()
        ranking = rank_cases(score, self.task.cases, self.task.catalogue, self.longest)
        self.values = {name: mean(values) for name, values in measure(ranking, self.metrics).items()}
        self.scoring = sum(seconds)
        return time.perf_counter() - started - self.scoring


def loop(task: Task) -> tuple[float, dict[str, float]]:
    """What one writes first: for each person sort all items, walk down the list."""
    rows = np.arange(0, len(task.cases), EVERY)
    total: dict[str, float] = {f"{name}@{k}": 0.0 for name in METRICS for k in CUTS}
    seconds = 0.0
    for row in rows.tolist():
        scores = task.people[row] @ task.items.T
        started = time.perf_counter()
        seen = set(task.cases.histories.take(np.array([row])).item.tolist())
        relevant = {int(one) for one in task.cases.targets[row]}
        scores[list(seen)] = -np.inf
        order = np.argsort(-scores).tolist()
        for k in CUTS:
            hits = [place for place, item in enumerate(order[:k], 1) if item in relevant]
            ideal = sum(1 / np.log2(place + 1) for place in range(1, min(k, len(relevant)) + 1))
            total[f"recall@{k}"] += len(hits) / len(relevant)
            total[f"hit_rate@{k}"] += bool(hits)
            total[f"mrr@{k}"] += 1 / hits[0] if hits else 0.0
            total[f"ndcg@{k}"] += sum(1 / np.log2(place + 1) for place in hits) / ideal
        seconds += time.perf_counter() - started
    return seconds * len(task.cases) / len(rows), {name: value / len(rows) for name, value in total.items()}


def recbole(task: Task, batch: int, folder: Path, python: Path) -> Asked:
    """A process of the side environment that evaluates once for each line it is sent."""
    history, targets = task.cases.histories, task.cases.targets
    path = folder / "task.npz"
    if not path.exists():
        np.savez(
            path, people=task.people, items=task.items, offsets=history.offsets, history=history.item,
            counts=np.array([len(one) for one in targets]), targets=np.concatenate(targets),
        )  # fmt: skip
    return Asked(python, JUDGE, [str(path), str(batch), ",".join(map(str, CUTS))])


def agree(ours: dict[str, Any], theirs: dict[str, Any]) -> float:
    """The largest difference between the two in any metric."""
    names = {name.replace("hit_rate", "hit"): value for name, value in ours.items()}
    return max(abs(names[name] - value) for name, value in theirs.items())


def main(repeats: int, share: float) -> dict[str, Any]:
    """Measure and print; ``share`` of the people are ranked, all with 1."""
    task = Task.of(share)
    ours, bare = Ours(task, 50), Ours(task, 0)
    ways = [table.Way("ours: ranks, lists of 50, 4 metrics at 4 cut-offs", ours.run)]
    ways.append(table.Way("ours without lists, which these metrics do not read", bare.run))
    ways.append(table.Way(f"a loop over people (one in {EVERY}, seconds multiplied)", lambda: loop(task)[0]))
    size = next(task.cases.blocks())
    with ExitStack() as open_ones:
        folder = Path(open_ones.enter_context(tempfile.TemporaryDirectory()))
        peers: list[Asked] = []
        why = ""
        try:
            python = python_of("recbole")
            for batch, times in ((len(size), None), (1, 1)):
                peers.append(recbole(task, batch, folder, python))
                open_ones.callback(peers[-1].close)
                of = "one person a batch, as its loader comes" if batch == 1 else f"{batch} people a batch"
                ways.append(table.Way(f"RecBole's collector and evaluator, {of}", peers[-1].run, times))
        except Unavailable as error:
            why = str(error)
        rows = table.measure(ways, repeats)
    table.show(f"evaluate {len(task.cases):,} x {task.cases.n_items:,} ({task.what})", rows)
    apart = {way.name: agree(ours.values, peer.said["values"]) for way, peer in zip(ways[3:], peers, strict=True)}
    for name, most in apart.items():
        print(f"largest difference of a metric to {name}: {most:.1e}")
    if why:
        print(f"without RecBole: {why}")
    cells = len(task.cases) * task.cases.n_items
    print(f"making the scores took {ours.scoring:.2f} s beside it; reading {4 * cells / 1e9:.1f} GB is the least to do")
    facts = {"what": task.what, "people": len(task.cases), "items": task.cases.n_items, "scoring_s": ours.scoring}
    return {"rows": rows, "differences": apart, "values": ours.values, "without": why, **facts}
