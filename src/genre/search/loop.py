"""A search: trials of what a configuration leaves open, the winner by intervals, and the test part read once for it."""

from __future__ import annotations

import fcntl
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter

from genre.component import name_of
from genre.config import Config
from genre.configfile import config_of
from genre.data import Log
from genre.errors import ConfigError, GenreError
from genre.files import digest
from genre.prepare import prepare, seed_of
from genre.run import Run
from genre.search.crew import FULL, News, Work, Workers
from genre.search.gaps import insist_on_groups
from genre.search.measures import cases_of, counts_of, larger_is_better
from genre.search.outcomes import in_words, outcome
from genre.search.snapshot import write_snapshot
from genre.search.study import Direction, Trials
from genre.search.timeleft import TOOK, seconds_left
from genre.search.trial import withhold
from genre.searchsection import PIPELINE, Gap
from genre.space import Drawn, Space, facts_of

if TYPE_CHECKING:
    from optuna import Trial
    from optuna.trial import FrozenTrial

FOLDER = "search"
TRIAL = "genre.search.trial:trial"
POLL = 0.2
"""Seconds between looks at what the workers say."""
HEARD_EVERY = 5.0
"""Seconds after which the search says again how far it is."""
SECTIONS = ("name", "seed", "data", "model", "train", "pipeline", "evaluate")
"""What a trial depends on, of the configuration."""
FREE = ("trials", "minutes", "workers", "leaders", "repeats", "retries", "baselines", "storage")
"""Settings of a search that may change while it is under way."""


@dataclass
class Standing:
    """How far a search is, to be shown."""

    trials: list[FrozenTrial]
    running: dict[int, tuple[int, float | None]]
    """By the number of the trial: epochs done, and the latest result."""
    budget: int
    objectives: list[str]
    seconds_left: float | None
    """Of all that is left of the search; None before the first trial has come to its end."""
    doing: str = "trials"
    texts: dict[int, str] = field(default_factory=dict)
    """What each trial tries, in words."""


def objectives_of(config: Config, space: Space) -> list[str]:
    """The objectives of a search, those that are not given too."""
    given = config.search.objectives
    ranks = any(one.name.startswith("pipeline") for one in space.parameters.values())
    return given or [PIPELINE if ranks else config.train.early_stopping.metric]


def watched(config: Config, objectives: list[str]) -> str | None:
    """The column of the learning curves that a pruner judges by; None where it is not asked."""
    if len(objectives) > 1 or name_of(config.search.pruner) == "none":
        return None
    return f"valid/{objectives[0]}" if objectives[0] == config.train.early_stopping.metric else None


def points_of(config: Config, space: Space) -> list[dict[str, Any]]:
    """What is tried before the searcher is asked: the defaults, and the points of a grid as far as the trials reach."""
    defaults = space.of({}).chosen
    per_interval = getattr(config.search.searcher, "points_per_interval", None)
    if per_interval is None:
        return [defaults]
    found = [defaults]
    for point in space.grid(per_interval):
        if len(found) >= config.search.trials:
            break
        if point != defaults:
            found.append(point)
    return found


class Search:
    """One search in the folder of its run."""

    def __init__(
        self,
        config: Config,
        run: Run,
        space: Space,
        workers: Workers,
        say: Callable[[str], None] = print,
        show: Callable[[Standing], None] = lambda standing: None,
        call: str = TRIAL,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.config, self.run, self.space, self.workers = config, run, space, workers
        self.say, self.show, self.call, self.clock = say, show, call, clock
        self.section = config.search
        self.home = run.path(FOLDER)
        self.objectives = objectives_of(config, space)
        self.larger = [larger_is_better(one) for one in self.objectives]
        self.column = watched(config, self.objectives)
        self.points = points_of(config, space)
        self.is_grid = hasattr(config.search.searcher, "points_per_interval")
        self.running: dict[str, Trial] = {}
        self.adopted: list[Trial] = []
        """Trials of a process that is gone, to be begun before new ones."""
        self.standing: dict[int, tuple[int, float | None]] = {}
        self.since: dict[int, float] = {}
        """When each trial of this process began."""
        self.tested = 0.0
        """Seconds that a run takes to be measured on test, as far as is known."""
        self.texts: dict[int, str] = {}
        self.began = self.clock()
        self.estimated = self.is_ready = False
        self.doing, self.noted = "baselines", 0.0
        self.due: float | None = None
        """When all is thought to be over, by the clock."""

    def run_trials(self) -> Trials:
        """All trials that are left. Raises `GenreError` where the disk is full, or nothing can be kept."""
        self.ready()
        with sole(self.home / "lock", self.section.storage is None), full_disk(self.home):
            self.trials = self._open()
            self.trials.plan(self.points)
            self.before = float(self.trials.study.user_attrs.get("seconds", 0.0))
            self.began = self.clock()
            self.adopted = self.trials.adopt(self.section.retries)
            self.note("trials")
            self._loop()
            self._note_time()
            self.note()
        return self.trials

    def ready(self) -> None:
        """Prepare the data, and what trials see of them. Raises `GenreError` for objectives that these do not have.

        Done once, however often it is asked for.
        """
        if self.is_ready:
            return
        self.data = prepare(self.config, self.run)
        kept = withhold(self.run.path("data"), self.home / "data")
        if any(map(Gap.of, self.objectives)):
            log = Log.of(kept)
            insist_on_groups(self.objectives, cases_of(self.config, log), counts_of(log), kept.users)
        self.is_ready = True

    def _open(self) -> Trials:
        facts = facts_of(self.space, len(self.objectives))
        if why := self.section.searcher.unfit(facts):
            raise GenreError(f"search.searcher: {why}")
        plain = TypeAdapter(Config).dump_python(self.config, mode="json")
        asked = {name: value for name, value in plain.items() if name in SECTIONS}
        asked["search"] = {name: value for name, value in plain["search"].items() if name not in FREE}
        asked["space"] = {one.name: one.words() for one in self.space.parameters.values()}
        ways: list[Direction] = ["maximize" if up else "minimize" for up in self.larger]
        key = digest([asked, self.data.hash])
        seed = self.config.seed * 1_000_003

        def searcher(done: int) -> Any:
            return self.section.searcher.sampler(facts, (seed + done) % 2**31)

        trials = Trials.open(self.config.name, self.home, self.section.storage, self.space, ways, key, searcher)
        trials.study.pruner = self.section.pruner.make(self.epochs())
        return trials

    def _loop(self) -> None:
        heard = 0.0
        while True:
            while self.workers.idle() and (self.adopted or self._more()):
                self._begin(self.adopted.pop() if self.adopted else self.trials.ask())
            if not self.running and not self.adopted and not self._more():
                break
            for news in self.workers.news(POLL):
                ended = self._hear(news)
                standing = self.standing_now()
                if ended is not None:
                    self._tell(ended, standing)
                self.show(standing)
                if news.kind != "epoch":
                    self.note(standing=standing)
            if time.monotonic() - heard > HEARD_EVERY:
                heard = time.monotonic()
                self.trials.still_alive([*self.running.values(), *self.adopted])
                if self.trials.shared:
                    mine = [one.number for one in (*self.running.values(), *self.adopted)]
                    self.adopted += self.trials.adopt(self.section.retries, mine)
                self._note_time()
                standing = self.standing_now()
                self.show(standing)
                self.note(standing=standing)

    def _more(self) -> bool:
        """Whether another trial may begin."""
        if self.trials.begun() >= self.budget():
            return False
        minutes = self.section.minutes
        return minutes is None or self.before + self.clock() - self.began < 60 * minutes

    def budget(self) -> int:
        """Most trials that there will be."""
        return min(self.section.trials, len(self.points)) if self.is_grid else self.section.trials

    def _note_time(self) -> None:
        self.trials.study.set_user_attr("seconds", round(self.before + self.clock() - self.began, 1))

    def _begin(self, trial: Trial) -> None:
        values, chosen = self.trials.values(trial)
        self.texts[trial.number] = in_words(chosen)
        folder = self.home / "trials" / f"{trial.number:04d}"
        try:
            plain = self.document(values, self.config.seed)
        except ConfigError as error:
            self.trials.failed(trial, "; ".join(error.problems))
            return
        key = str(trial.number)
        self.running[key] = trial
        self.since.setdefault(trial.number, self.clock())
        self.standing[trial.number] = (0, None)
        arguments = {"values": plain, "folder": str(folder), "objectives": self.objectives}
        self.workers.start(Work(key, self.call, arguments, folder / "log.txt"))

    def document(self, values: dict[str, Any], seed: int) -> dict[str, Any]:
        """A drawn document as a worker gets it: every setting as plain data, with a seed, and the data's own seed."""
        config = config_of(Drawn(values, {}, {}))
        config = replace(config, seed=seed, data=replace(config.data, seed=seed_of(self.config)), name="trial")
        plain = TypeAdapter(Config).dump_python(config, mode="json")
        return {name: value for name, value in plain.items() if name in SECTIONS}

    def _hear(self, news: News) -> int | None:
        """Act on news; the number of the trial that ended by them."""
        trial = self.running.get(news.key)
        if trial is None:
            return None
        if news.kind == "epoch":
            self._epoch(trial, news)
            return None
        del self.running[news.key]
        if news.kind == "killed" and trial.user_attrs.get("attempts", 1) <= self.section.retries:
            self.trials.again(trial, news.data["reason"])
            self._begin(trial)
            return None
        epochs, latest = self.standing.pop(trial.number, (0, None))
        took = {TOOK: round(self.clock() - self.since.pop(trial.number), 3)}
        if news.kind == "full":
            raise GenreError(disk_is_full(self.home))
        if news.kind == "done":
            self._done(trial, news.data | took)
        elif news.kind == "pruned":
            self.trials.pruned(trial, {"epochs": epochs, "latest": latest, **took})
        else:
            self.trials.failed(trial, news.data["reason"], took)
        return trial.number

    def _epoch(self, trial: Trial, news: News) -> None:
        step, row = news.data["step"], news.data["row"]
        value = row.get(self.column) if self.column else row.get(f"valid/{self.objectives[0]}")
        number = float(value) if value is not None and math.isfinite(value) else None
        self.standing[trial.number] = (step, number)
        stop = self.column is not None and number is not None and self.trials.report(trial, step, number)
        self.workers.answer(news.key, stop)

    def _done(self, trial: Trial, result: dict[str, Any]) -> None:
        values = [result["values"][one] for one in self.objectives]
        if any(one is None for one in values):
            missing = [n for n in self.objectives if result["values"][n] is None]
            self.trials.failed(trial, f"{', '.join(missing)} is not a number", {TOOK: result[TOOK]})
        else:
            self.trials.done(trial, values, result)

    def _tell(self, number: int, now: Standing) -> None:
        """Say what a trial came to, and after three of them how long the rest takes."""
        frozen = now.trials[number]
        said = outcome(frozen, self.objectives)
        self.say(f"trial {number}: {said}; {self.texts.get(number, '')}")
        ended = [one for one in now.trials if one.state.is_finished()]
        if len(ended) >= 3 and len(ended) < now.budget and not self.estimated and now.seconds_left is not None:
            self.estimated = True
            more = now.budget - len(ended)
            self.say(
                f"about {now.seconds_left / 60:.1f} minutes left, for {more} more trials and what comes after them"
            )

    def standing_now(self) -> Standing:
        """How far the trials are."""
        found = self.trials.all()
        left = seconds_left(self, found)
        return Standing(found, dict(self.standing), self.budget(), self.objectives, left, texts=self.texts)

    def note(self, doing: str | None = None, standing: Standing | None = None) -> None:
        """Keep how far the search is where others can read it; ``doing`` is what it does from now on."""
        self.doing, self.noted = doing or self.doing, time.monotonic()
        standing = standing or self.standing_now()
        if self.doing == "trials":
            self.due = None if standing.seconds_left is None else self.clock() + standing.seconds_left
        left = None if self.due is None else max(0.0, self.due - self.clock())
        write_snapshot(self.home, self.config.name, replace(standing, doing=self.doing, seconds_left=left), self.larger)

    def epochs(self) -> int:
        """Most epochs of a trial over all phases."""
        train = self.config.train
        return max(1, train.warmup_epochs + train.contrastive_start + train.epochs)

    def work_off(self, works: list[Work], doing: str) -> dict[str, News]:
        """Have workers do some pieces of work to their end; what became of each."""
        todo, found, again = list(works), dict[str, News](), dict[str, int]()
        by_key = {work.key: work for work in works}
        with full_disk(self.home):
            while len(found) < len(works):
                while todo and self.workers.idle():
                    self.workers.start(todo.pop(0))
                if self.doing != "baselines" and time.monotonic() - self.noted > HEARD_EVERY:
                    self.note()
                for news in self.workers.news(POLL):
                    if news.kind == "epoch":
                        self.workers.answer(news.key, stop=False)
                    elif news.kind == "full":
                        raise GenreError(disk_is_full(self.home))
                    elif news.kind == "killed" and again.get(news.key, 0) < self.section.retries:
                        again[news.key] = again.get(news.key, 0) + 1
                        todo.append(by_key[news.key])
                    else:
                        found[news.key] = news
                        self.say(f"{doing} {news.key}: {news.data.get('reason', news.kind)}")
        return found


@contextmanager
def sole(path: Path, needed: bool) -> Iterator[None]:
    """Inside, no other process runs the same search. Raises `GenreError` where one does."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        if needed:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise GenreError(
                    f"{path.parent}: another process runs this search; set search.storage to a database to share it"
                ) from error
        yield


@contextmanager
def full_disk(folder: Path) -> Iterator[None]:
    """A full disk is said as such, whoever met it."""
    try:
        yield
    except OSError as error:
        if error.errno not in FULL:
            raise
        raise GenreError(disk_is_full(folder)) from error


def disk_is_full(folder: Path) -> str:
    """What to do about it."""
    return f"{folder}: the disk is full; free some space, and the same command goes on from the trials that are done"
