"""Where time goes: code names its parts, and who listens hears how long each took; else nothing is done.

    with timed("heads"):
        ...

Parts may lie within parts; each is given its own time alone, without that of the parts inside it. A *stretch* is a
piece of work (`warmup`, `evaluate`) whose parts are kept apart from those of others.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import wraps
from typing import ParamSpec, TypeVar

T = TypeVar("T")
P = ParamSpec("P")


@dataclass
class Part:
    """What was heard of one part of a stretch, in all its calls."""

    seconds: float = 0.0
    calls: int = 0
    counted: float = 0.0
    """What the clock's counter has risen by."""
    amounts: dict[str, float] = field(default_factory=dict)
    """Sums of what the code said by `note`: tokens, places, bytes."""


REST = ""
"""The part of a stretch that no name was given to."""
SILENT: AbstractContextManager[None] = nullcontext()


class Clock:
    """Hears the parts of what runs in this thread. ``counter`` is read beside the time, such as operations so far."""

    def __init__(self, counter: Callable[[], float] = lambda: 0.0) -> None:
        self.counter, self.thread = counter, threading.get_ident()
        self.stretches: dict[str, dict[str, Part]] = {}
        self.stretch = REST
        """The stretch that runs now."""
        self._stack: list[Part] = []
        self._sealed = 0
        """Parts that take in all that is inside them and run now."""
        self._since = (0.0, 0.0)

    def part(self, name: str) -> Part:
        """A part of the stretch that runs now."""
        return self.stretches.setdefault(self.stretch, {}).setdefault(name, Part())

    def enter(self, part: Part) -> None:
        """From now on time is that of ``part``."""
        self._pass()
        part.calls += 1
        self._stack.append(part)

    def leave(self) -> None:
        """From now on time is that of the part around."""
        self._pass()
        self._stack.pop()

    def note(self, amounts: dict[str, float]) -> None:
        """Add to the amounts of the part that runs now."""
        if self._stack:
            known = self._stack[-1].amounts
            for name, amount in amounts.items():
                known[name] = known.get(name, 0.0) + amount

    @contextmanager
    def inside(self, name: str, whole: bool) -> Iterator[None]:
        """Time is that of the part ``name``; if ``whole``, that of the parts within it too, but for other such."""
        if self._sealed and not whole:
            yield
            return
        self._sealed += whole
        self.enter(self.part(name))
        try:
            yield
        finally:
            self.leave()
            self._sealed -= whole

    @contextmanager
    def within(self, name: str) -> Iterator[None]:
        """Parts are those of the stretch ``name``."""
        outer, self.stretch = self.stretch, name
        self.enter(self.part(REST))
        try:
            yield
        finally:
            self.leave()
            self.stretch = outer

    def _pass(self) -> None:
        now = (time.perf_counter(), self.counter())
        if self._stack:
            self._stack[-1].seconds += now[0] - self._since[0]
            self._stack[-1].counted += now[1] - self._since[1]
        self._since = now


_listening: list[Clock] = []
"""The last one hears."""


def _clock() -> Clock | None:
    return _listening[-1] if _listening and _listening[-1].thread == threading.get_ident() else None


@contextmanager
def listening(clock: Clock) -> Iterator[Clock]:
    """Inside, ``clock`` hears what this thread does."""
    _listening.append(clock)
    try:
        yield clock
    finally:
        _listening.pop()


def heard() -> bool:
    """Whether anybody listens: what is only said by `note` need not be worked out otherwise."""
    return bool(_listening)


def timed(name: str, whole: bool = False) -> AbstractContextManager[None]:
    """The block is the part ``name`` of the stretch that runs.

    If ``whole``, of the parts inside it only such as are whole themselves are told apart.
    """
    clock = _clock()
    return SILENT if clock is None else clock.inside(name, whole)


def times(name: str, whole: bool = False) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Decorator: what the function does is the part ``name``, as `timed` has it."""

    def decorated(function: Callable[P, T]) -> Callable[P, T]:
        @wraps(function)
        def run(*args: P.args, **kwargs: P.kwargs) -> T:
            with timed(name, whole):
                return function(*args, **kwargs)

        return run

    return decorated


def stretch(name: str) -> AbstractContextManager[None]:
    """The block is a stretch of its own."""
    clock = _clock()
    return SILENT if clock is None else clock.within(name)


def timed_each(name: str, made: Iterable[T]) -> Iterator[T]:
    """Yield what ``made`` gives; making each is the part ``name``."""
    iterator = iter(made)
    while True:
        with timed(name):
            try:
                one = next(iterator)
            except StopIteration:
                return
        yield one


def note(**amounts: float) -> None:
    """Add to the amounts of the part that runs: ``tokens``, ``places`` (tokens with padding), ``read``, ``written``."""
    clock = _clock()
    if clock is not None:
        clock.note(amounts)
