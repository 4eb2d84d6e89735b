"""A search whose workers live by a clock of their own: hours of trials in a second, and how long all took is known."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from genre.search.crew import News, Work

EPOCHS = 5


@dataclass
class Shape:
    """What the trials of a world are like."""

    spread: float = 0.35
    """Standard deviation of the logarithm of a trial's seconds."""
    shared: bool = False
    """Whether all trials share one training, as where only the pipeline is searched."""
    failing: float = 0.0
    """Share of the trials that fail, soon."""
    rest: float = 10.0
    """Seconds of a trial beside its training."""


@dataclass
class SimulatedWorkers:
    """Workers that are told of by events in the order of a clock which jumps to the next."""

    n: int
    shape: Shape
    rng: np.random.Generator
    now: float = 0.0
    events: list[tuple[float, int, str, str]] = field(default_factory=list)
    """When, in which order, whose, and what: ``epoch``, ``failed`` or ``done``."""
    doing: dict[str, tuple[float, int, float]] = field(default_factory=dict)
    """By key: seconds of an epoch, epochs that were told, how good it is."""
    counted: int = 0
    trained: bool = False

    def clock(self) -> float:
        """The time, for the search."""
        return self.now

    def idle(self) -> int:
        """See `Workers.idle`."""
        return self.n - len(self.doing)

    def start(self, work: Work) -> None:
        """See `Workers.start`."""
        training = 100.0 * float(np.exp(self.rng.normal(0, self.shape.spread)))
        if self.shape.shared:
            training = 0.0 if self.trained else 100.0
            self.trained = True
        self.doing[work.key] = (training / EPOCHS, 0, float(self.rng.normal()))
        fails = self.rng.random() < self.shape.failing
        self._soon(2.0 if fails else training / EPOCHS, work.key, "failed" if fails else "epoch")

    def news(self, seconds: float) -> Iterator[News]:
        """See `Workers.news`."""
        if not self.events:
            return
        self.now, _, key, what = heapq.heappop(self.events)
        each, epochs, best = self.doing[key]
        if what == "epoch":
            self.doing[key] = (each, epochs + 1, best)
            value = best + 0.3 * self.rng.normal() - 2 / (epochs + 1)
            yield News(key, "epoch", {"step": epochs + 1, "row": {"valid/ndcg@10": value}})
            return
        del self.doing[key]
        if what == "failed":
            yield News(key, "failed", {"reason": "out of memory"})
        else:
            training = 100.0 if self.shape.shared else each * EPOCHS
            model = "one" if self.shape.shared else key
            result = {"values": {"ndcg@10": best}, "epochs": EPOCHS, "train_seconds": training, "model": model}
            result["model_seconds"] = each * EPOCHS
            yield News(key, "pruned" if what == "pruned" else "done", result)

    def answer(self, key: str, stop: bool) -> None:
        """See `Workers.answer`."""
        each, epochs, _ = self.doing[key]
        if stop:
            self._soon(0.0, key, "pruned")
        elif epochs < EPOCHS:
            self._soon(each, key, "epoch")
        else:
            self._soon(self.shape.rest, key, "done")

    def close(self) -> None:
        """See `Workers.close`."""

    def _soon(self, seconds: float, key: str, what: str) -> None:
        self.counted += 1
        heapq.heappush(self.events, (self.now + seconds, self.counted, key, what))


def after_trials(trials: list[Any], leaders: int, repeats: int, shape: Shape, tested: float) -> list[list[float]]:
    """Seconds of each piece of work after the trials: the leaders and the defaults again, and the two runs on test."""
    best = sorted((one for one in trials if one.state.name == "COMPLETE"), key=lambda one: -one.values[0])
    default = next((one for one in trials if one.number == 0 and one.state.name == "COMPLETE"), None)
    contenders = ([default] if default else []) + [one for one in best if one is not default][:leaders]
    again = []
    for _ in range(repeats):
        for i, one in enumerate(contenders):
            training = one.user_attrs["result"]["train_seconds"]
            again.append(shape.rest + (training if not shape.shared or i == 0 else 0.0))
    finals = [one.user_attrs["result"]["train_seconds"] + tested for one in contenders[:2]]
    return [again, finals]
