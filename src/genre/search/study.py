"""The trials of a search as they are stored: asked for, told of, found again after a kill. Optuna keeps them.

A trial belongs to the process that runs it, which says every minute that it lives. A trial whose process is gone is
taken over with the values that it had, in the same folder: it stays one trial, and its training goes on where it was.
"""

from __future__ import annotations

import contextlib
import os
import platform
import time
import warnings
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import psutil

from genre.errors import GenreError
from genre.space import Choice, Parameter, Space

if TYPE_CHECKING:
    from optuna import Study, Trial
    from optuna.samplers import BaseSampler
    from optuna.storages import BaseStorage
    from optuna.trial import FrozenTrial

JOURNAL = "trials.log"
ALIVE_EVERY = 60.0
"""Seconds after which a process says again that it lives."""
SILENT = 600.0
"""Seconds of silence after which a trial of another machine is taken over."""
OWNER, ALIVE, ATTEMPTS, REASON, RESULT = "owner", "alive", "attempts", "reason", "result"


Direction = Literal["maximize", "minimize"]


@contextmanager
def quietly() -> Iterator[None]:
    """Inside, Optuna tells neither of every trial nor of what is new in it."""
    import optuna

    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        warnings.simplefilter("ignore", FutureWarning)
        warnings.simplefilter("ignore", UserWarning)
        try:
            yield
        finally:
            optuna.logging.set_verbosity(before)


@contextmanager
def _once() -> Iterator[None]:
    """A trial that another machine took over, and has told of since, keeps what was told."""
    import optuna

    with contextlib.suppress(optuna.exceptions.UpdateFinishedTrialError):
        yield


def suggest(trial: Trial, one: Parameter) -> Any:
    """The value that a trial has for a parameter."""
    if isinstance(one, Choice):
        return trial.suggest_categorical(one.name, one.labels)
    if one.whole:
        step = int(one.step or 1)
        return trial.suggest_int(one.name, int(one.low), int(one.high), step=step, log=one.scale == "log")
    return trial.suggest_float(one.name, one.low, one.high, step=one.step, log=one.scale == "log")


@dataclass
class Trials:
    """The study of a search."""

    study: Study
    space: Space
    shared: bool = False
    """Whether other processes may run trials of the same search."""

    @classmethod
    def open(
        cls,
        name: str,
        folder: Path,
        url: str | None,
        space: Space,
        directions: list[Direction],
        key: str,
        searcher: Callable[[int], BaseSampler],
    ) -> Trials:
        """The trials in ``folder``, or in the database at ``url``; none yet where nothing was kept.

        Raises `GenreError` where they were of another search, by its ``key``, or cannot be read.
        """
        import optuna

        with quietly():
            storage = _storage(folder, url)
            study = optuna.create_study(study_name=name, storage=storage, directions=directions, load_if_exists=True)
            known = study.user_attrs.get("key")
            if known is None:
                study.set_user_attr("key", key)
            elif known != key:
                raise GenreError(
                    f"{folder if url is None else url}: holds the trials of another search named '{name}' (other data, "
                    "space or settings); give this one another name, or remove that one"
                )
            # A seed of its own for every start, so that nothing is drawn twice.
            study.sampler = searcher(len(study.get_trials(deepcopy=False)))
        return cls(study, space, url is not None)

    def plan(self, points: list[dict[str, Any]]) -> None:
        """What is tried before the searcher is asked; once in the life of a search."""
        if self.study.user_attrs.get("planned"):
            return
        with quietly():
            for point in points:
                self.study.enqueue_trial(point, skip_if_exists=True)
            self.study.set_user_attr("planned", True)

    def ask(self) -> Trial:
        """A new trial, which from now on is this process's."""
        with quietly():
            trial = self.study.ask()
            self._own(trial)
        return trial

    def adopt(self, retries: int, mine: Collection[int] = ()) -> list[Trial]:
        """Trials whose process is gone, now this one's; those begun too often are recorded as failed.

        ``mine`` are the numbers of those that this one runs.
        """
        import optuna

        found = []
        for frozen in self._in("RUNNING"):
            if frozen.number in mine or _lives(frozen, self.shared):
                continue
            with quietly():
                trial = optuna.Trial(self.study, frozen._trial_id)
                if frozen.user_attrs.get(ATTEMPTS, 1) > retries:
                    self.failed(trial, frozen.user_attrs.get(REASON) or "its process was killed")
                else:
                    self._own(trial)
                    found.append(trial)
        return found

    def again(self, trial: Trial, reason: str) -> None:
        """A trial's worker is gone, and it begins once more."""
        trial.set_user_attr(REASON, reason)
        self._own(trial)

    def _own(self, trial: Trial) -> None:
        attempts = trial.user_attrs.get(ATTEMPTS, 0) + 1
        trial.set_user_attr(OWNER, _self())
        trial.set_user_attr(ALIVE, time.time())
        trial.set_user_attr(ATTEMPTS, attempts)

    def still_alive(self, running: list[Trial]) -> None:
        """Say that this process lives, for those that may wonder."""
        for trial in running:
            if time.time() - trial.user_attrs.get(ALIVE, 0.0) > ALIVE_EVERY:
                trial.set_user_attr(ALIVE, time.time())

    def values(self, trial: Trial) -> tuple[dict[str, Any], dict[str, Any]]:
        """What a trial is of: the whole document, and what was chosen by name."""
        with quietly():
            drawn = self.space.draw(lambda one: suggest(trial, one))
        return drawn.values, drawn.chosen

    def report(self, trial: Trial, step: int, value: float) -> bool:
        """Note an epoch's result; whether the trial is not worth finishing."""
        with quietly():
            trial.report(value, step)
            return bool(trial.should_prune())

    def done(self, trial: Trial, values: list[float], result: dict[str, Any]) -> None:
        """A trial came to its end."""
        with quietly(), _once():
            trial.set_user_attr(RESULT, result)
            self.study.tell(trial, values)

    def pruned(self, trial: Trial, result: dict[str, Any]) -> None:
        """A trial was stopped."""
        import optuna

        with quietly(), _once():
            trial.set_user_attr(RESULT, result)
            self.study.tell(trial, state=optuna.trial.TrialState.PRUNED)

    def failed(self, trial: Trial, reason: str, result: dict[str, Any] | None = None) -> None:
        """A trial could not be finished, why, and what is known of it nevertheless."""
        import optuna

        with quietly(), _once():
            trial.set_user_attr(REASON, reason)
            if result is not None:
                trial.set_user_attr(RESULT, result)
            self.study.tell(trial, state=optuna.trial.TrialState.FAIL)

    def all(self) -> list[FrozenTrial]:
        """Every trial, in order."""
        with quietly():
            return self.study.get_trials(deepcopy=False)

    def begun(self) -> int:
        """How many trials there are but for those that only wait."""
        return sum(one.state.name != "WAITING" for one in self.all())

    def _in(self, state: str) -> list[FrozenTrial]:
        return [one for one in self.all() if one.state.name == state]


def _storage(folder: Path, url: str | None) -> BaseStorage:
    from optuna.storages import JournalStorage, RDBStorage
    from optuna.storages.journal import JournalFileBackend

    folder.mkdir(parents=True, exist_ok=True)
    if url is None:
        path = folder / JOURNAL
        mend_journal(path)
        return JournalStorage(JournalFileBackend(str(path)))
    try:
        from sqlalchemy.pool import NullPool

        # A connection is had for as long as it is needed: trials are minutes apart, and many machines share the server.
        return RDBStorage(url, engine_kwargs={"poolclass": NullPool})
    except Exception as error:
        raise GenreError(f"search.storage: {url.rpartition('@')[2]} cannot be opened ({error})") from error


def mend_journal(path: Path) -> None:
    """Take away what a full disk or a kill left: half a last line, and the lock of a process that is gone.

    One process at a time writes the journal, and whoever calls this is the one.
    """
    path.with_name(f"{path.name}.lock").unlink(missing_ok=True)
    if not path.exists():
        return
    data = path.read_bytes()
    if data and not data.endswith(b"\n"):
        os.truncate(path, data.rfind(b"\n") + 1)


def _self() -> str:
    process = psutil.Process()
    return f"{platform.node()}/{process.pid}/{process.create_time():.2f}"


def _lives(trial: FrozenTrial, shared: bool) -> bool:
    """Whether the process that a trial belongs to is there; of another machine, whether it was heard of lately."""
    owner = trial.user_attrs.get(OWNER)
    if owner is None:
        # Its process ended between making it and signing it, or is about to sign.
        begun = trial.datetime_start
        return shared and begun is not None and time.time() - begun.timestamp() < ALIVE_EVERY
    node, pid, created = owner.rsplit("/", 2)
    if node != platform.node():
        return time.time() - trial.user_attrs.get(ALIVE, 0.0) < SILENT
    try:
        return f"{psutil.Process(int(pid)).create_time():.2f}" == created and owner != _self()
    except psutil.NoSuchProcess:
        return False
