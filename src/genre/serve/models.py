"""The models of a service: which there are, which are in memory, which answers, and which did before."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from genre.errors import GenreError, RunError
from genre.run import Run
from genre.serve.judging import Verdict, headline, judge, measured
from genre.serve.loaded import Loaded, version_of

LOG = logging.getLogger("genre.serve")
State = Literal["active", "previous", "loaded", "available", "failed"]


class Worse(GenreError):
    """A model that the gate does not let pass."""


class Missing(GenreError):
    """There is no such model."""


class Unready(GenreError):
    """The model is not in a state in which this can be done."""


@dataclass(frozen=True)
class Facts:
    """A model as a list shows it."""

    name: str
    state: State
    version: str | None
    problem: str | None
    gate: Verdict
    metrics: dict[str, Any]


@dataclass
class Models:
    """Run folders beside the one that was started with; each in memory is whole, and the reference to it is swapped.

    Requests take `active` once and keep it, so that a model that is replaced answers what it was asked.
    """

    active: Loaded
    load_run: Callable[[Path], Loaded]
    warm: Callable[[Loaded], int]
    """Answer some requests by a model before it takes over."""
    keep: int = 1
    """Models that stay in memory after another took their place."""
    previous: list[Loaded] = field(default_factory=list)
    ready: dict[str, Loaded] = field(default_factory=dict)
    """Loaded, and waiting to take over or to be one arm of an experiment."""
    failed: dict[str, str] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def home(self) -> Path:
        """The folder of the runs."""
        return self.active.folder.resolve().parent

    def names(self) -> list[str]:
        """Names of the runs that are there."""
        return sorted(path.parent.name for path in self.home.glob("*/manifest.json") if path.is_file())

    def get(self, name: str) -> Loaded | None:
        """A model in memory."""
        for one in (self.active, *self.ready.values(), *self.previous):
            if one.folder.name == name:
                return one
        return None

    def facts(self, name: str) -> Facts:
        """What is known of one model. Raises `Missing`."""
        folder = self._folder(name)
        loaded, found = self.get(name), measured(folder)
        problem = self.failed.get(name)
        if loaded is not None:
            version = loaded.version
        else:
            try:
                version = version_of(Run.open(folder))
            except (GenreError, ValueError, OSError) as error:
                version, problem = None, problem or str(error)
        compared = None if loaded is self.active else measured(self.active.folder)
        return Facts(name, self._state(name, problem), version, problem, judge(found, compared), headline(found))

    def _state(self, name: str, problem: str | None) -> State:
        if name == self.active.folder.name:
            return "active"
        if name in self.ready:
            return "loaded"
        if any(one.folder.name == name for one in self.previous):
            return "previous"
        return "failed" if problem else "available"

    def _folder(self, name: str) -> Path:
        """The folder of a run by its name, which is one of those that are there: a path never comes from outside."""
        if name not in self.names():
            names = ", ".join(self.names())
            raise Missing(f"no model '{name}'; there are: {names}").coded("no_model", name=name, names=names)
        return self.home / name

    def load(self, name: str) -> Loaded:
        """Read a model, check every file's hash, and warm it up; it then waits. Blocks for seconds.

        Raises `RunError` for one that is damaged, `Missing` for an unknown one; what answers now is not touched.
        """
        folder = self._folder(name)
        with self._lock:
            try:
                made = self.load_run(folder)
                self.warm(made)
            except Exception as error:
                self.failed[name] = str(error) if isinstance(error, GenreError) else f"{type(error).__name__}: {error}"
                why = self.failed[name]
                raise RunError(f"{name} cannot be loaded: {why}").coded("no_load", name=name, why=why) from error
            self.failed.pop(name, None)
            old = self.ready.pop(name, None)
            self.ready[name] = made
        if old is not None:
            old.close()
        return made

    def activate(self, name: str, even_if_worse: bool = False) -> Loaded:
        """Let a loaded model answer from now on. Raises `Worse` where the gate does not let it pass, and `Unready`."""
        with self._lock:
            made = self.ready.get(name)
            if made is None:
                why = f"model '{name}' is not loaded; POST /v1/models/{name}/load first"
                raise Unready(why).coded("not_loaded", name=name)
            if made.pipeline is None:
                raise Unready(f"model '{name}' answers about texts and recommends nothing").coded("texts", name=name)
            verdict = judge(measured(made.folder), measured(self.active.folder))
            if verdict.passed is False and not even_if_worse:
                why = f"{name} is refused: {verdict.why}; to let it answer all the same, set even_if_worse"
                raise Worse(why).coded("gate", name=name, gate={"code": verdict.code, "values": verdict.values})
            self._take_over(made)
        return made

    def follow(self, name: str, version: str) -> None:
        """Let the model answer that another process has let take over: from memory, else from its folder.

        Raises `GenreError` where it is not here in that version, or cannot be loaded; what answers now goes on.
        """
        made = next((one for one in (*self.ready.values(), *self.previous) if _is(one, name, version)), None)
        if made is None:
            here = version_of(Run.open(self._folder(name)))
            if here != version:
                raise Unready(f"model '{name}' is here in version {here}, and {version} was activated: copy its folder")
            made = self.load(name)
        with self._lock:
            self._take_over(made)

    def put_back(self, model: Loaded) -> None:
        """Let a model answer again that did until now."""
        with self._lock:
            self._take_over(model)

    def _take_over(self, made: Loaded) -> None:
        self.ready = {name: one for name, one in self.ready.items() if one is not made}
        self.previous = [self.active, *(one for one in self.previous if one is not made)]
        self.active = made
        for gone in self.previous[self.keep :]:
            gone.close()
        del self.previous[self.keep :]
        LOG.warning("model %s@%s answers", made.folder.name, made.version)

    def roll_back(self) -> Loaded:
        """Let the model before this one answer again. Raises `Unready` where there is none."""
        with self._lock:
            if not self.previous:
                raise Unready("no model answered before this one since the service was started").coded("none_before")
            before = self.previous.pop(0)
            self.ready[self.active.folder.name] = self.active
            self.active = before
        LOG.warning("model %s@%s answers again", before.folder.name, before.version)
        return before

    def unload(self, name: str) -> None:
        """Let go of a model that waits. Raises `Unready` for one that does not."""
        with self._lock:
            gone = self.ready.pop(name, None)
        if gone is None:
            raise Unready(f"model '{name}' does not wait in memory").coded("not_waiting", name=name)
        gone.close()


def _is(model: Loaded, name: str, version: str) -> bool:
    return model.folder.name == name and model.version == version
