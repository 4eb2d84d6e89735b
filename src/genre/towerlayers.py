"""Torch modules that towers build: ``features [m, width] -> {task: [m, ...]}``.

torch-rechub and LibMTL have such nets too, but bound to their own feature columns and training loops.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

PREFIX = "task_"
"""Before a task's name, as a module may not be called `type`, `items` or `train`, and a task may."""


def by_task(tasks: list[str], make: Callable[[], nn.Module]) -> nn.ModuleDict:
    """A module for each task."""
    return nn.ModuleDict({PREFIX + task: make() for task in tasks})


def task_of(name: str) -> str:
    """The task whose module is called ``name``."""
    return name.removeprefix(PREFIX)


class DirectTowers(nn.Module):
    """The features as they are, for every task."""

    def __init__(self, tasks: list[str]) -> None:
        super().__init__()
        self.tasks = tasks

    def forward(self, features: Tensor) -> dict[str, Tensor]:
        return dict.fromkeys(self.tasks, features)


class SeparateTowers(nn.Module):
    """A small net for each task over the same features."""

    def __init__(self, width: int, dim: int, tasks: list[str]) -> None:
        super().__init__()
        self.nets = by_task(tasks, lambda: nn.Sequential(nn.LayerNorm(width), nn.Linear(width, dim), nn.GELU()))

    def forward(self, features: Tensor) -> dict[str, Tensor]:
        return {task_of(name): net(features) for name, net in self.nets.items()}


class SharedBottom(nn.Module):
    """One net for all tasks, and a smaller one for each on top of it."""

    def __init__(self, width: int, dim: int, tasks: list[str], hidden: int) -> None:
        super().__init__()
        self.bottom = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, hidden), nn.GELU())
        self.nets = by_task(tasks, lambda: nn.Sequential(nn.Linear(hidden, dim), nn.GELU()))

    def forward(self, features: Tensor) -> dict[str, Tensor]:
        shared = self.bottom(features)
        return {task_of(name): net(shared) for name, net in self.nets.items()}


class MixtureTowers(nn.Module):
    """Levels of experts, some for all tasks and ``own`` for each; a task takes its own weighted mean of those it sees.

    Above the lowest level a task reads its mean, and the experts for all read a mean over every expert.
    """

    def __init__(
        self, width: int, dim: int, tasks: list[str], hidden: int, shared: int, own: int = 0, levels: int = 1
    ) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        widths = [width, *[hidden] * (levels - 1)]
        self.levels = nn.ModuleList(
            ExpertLevel(w, hidden, tasks, shared, own, top=i == levels - 1) for i, w in enumerate(widths)
        )
        self.nets = by_task(tasks, lambda: nn.Sequential(nn.Linear(hidden, dim), nn.GELU()))

    def forward(self, features: Tensor) -> dict[str, Tensor]:
        together = self.norm(features)
        mine = dict.fromkeys(self.nets, together)
        for level in self.levels:
            together, mine = level(together, mine)
        return {task_of(name): net(mine[name]) for name, net in self.nets.items()}


class ExpertLevel(nn.Module):
    """One level of `MixtureTowers`: what all share and what each task has, in and out."""

    def __init__(self, width: int, hidden: int, tasks: list[str], shared: int, own: int, top: bool) -> None:
        super().__init__()
        self.shared = Experts(width, hidden, shared)
        self.own = by_task(tasks, lambda: Experts(width, hidden, own)) if own else None
        self.gates = by_task(tasks, lambda: nn.Linear(width, own + shared))
        self.gate = None if top else nn.Linear(width, len(tasks) * own + shared)

    def forward(self, together: Tensor, mine: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        shared = self.shared(together)
        own = {} if self.own is None else {name: experts(mine[name]) for name, experts in self.own.items()}
        seen = {name: torch.cat([own[name], shared], 1) if own else shared for name in mine}
        mixed = {name: _mean(gate(mine[name]), seen[name]) for name, gate in self.gates.items()}
        if self.gate is not None:
            together = _mean(self.gate(together), torch.cat([*own.values(), shared], 1))
        return together, mixed


class Experts(nn.Module):
    """Some nets of one layer side by side: ``[m, width] -> [m, n, hidden]``."""

    def __init__(self, width: int, hidden: int, n: int) -> None:
        super().__init__()
        self.n = n
        self.net = nn.Sequential(nn.Linear(width, n * hidden), nn.GELU())

    def forward(self, features: Tensor) -> Tensor:
        return self.net(features).unflatten(-1, (self.n, -1))


def _mean(scores: Tensor, experts: Tensor) -> Tensor:
    """Of ``experts [m, n, hidden]`` by the softmax of ``scores [m, n]``."""
    return (scores.softmax(-1)[..., None] * experts).sum(1)
