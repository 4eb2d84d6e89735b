"""Steps of an optimizer: each weight's rate and decay, how rates rise and fall, the average of the weights."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from genre.clock import times
from genre.config import TrainSection
from genre.optimizers import Group
from genre.parallel import placed, team, whole
from genre.stack import Tuning

SCHEDULES: dict[str, Callable[[float], float]] = {
    "cosine": lambda done: max(0.0, 0.5 * (1 + math.cos(math.pi * done))),
    "linear": lambda done: 1 - done,
    "constant": lambda done: 1.0,
}
"""Factor on the rates, by the share of the steps that is done since they have risen."""


@dataclass
class Stepper:
    """An optimizer with its schedule over some parameters."""

    parameters: list[nn.Parameter]
    optimizer: Optimizer
    schedule: LambdaLR
    clip: float

    tuning: Tuning | None = None
    """What an adapter wants done around the steps."""
    most: int = 0
    """Steps that there will be at most."""
    average: Average | None = None
    """The mean of the parameters over the last steps, where it is asked for."""
    lengths: Tensor | float = 0.0
    """Lengths of the gradients since `mean_length` was asked, before they were shortened, added up."""
    counted: int = 0
    """How many these are."""

    @classmethod
    def over(
        cls,
        named: Iterable[tuple[str, nn.Parameter]],
        lr: float,
        steps: int,
        train: TrainSection,
        tuning: Tuning | None = None,
        tables: Collection[Tensor] = (),
    ) -> Stepper:
        """Matrices decay, vectors (biases, norms) do not; rates rise for ``lr_warmup`` of the steps, then fall."""
        parameters, groups = [], defaultdict(list)
        numbers = {id(table) for table in tables}
        for name, parameter in named:
            parameters.append(parameter)
            rate = lr * (tuning.rate(name) if tuning else 1.0)
            decay = train.weight_decay if parameter.ndim > 1 else 0.0
            groups[rate, decay, id(parameter) in numbers].append(parameter)
        made: list[Group] = [
            {"params": group, "lr": rate, "weight_decay": decay, "table": table}
            for (rate, decay, table), group in groups.items()
        ]
        optimizer = train.optimizer.make(made)
        rise = max(1, round(steps * train.lr_warmup))
        schedule = LambdaLR(optimizer, _factor(SCHEDULES[train.schedule], rise, max(steps, rise + 1)))
        average = Average(parameters, train.ema) if train.ema else None
        return cls(parameters, optimizer, schedule, train.clip, tuning, steps, average)

    @times("optimizer")
    def step(self) -> None:
        """Clip, step, forget the gradient, which is the mean of all workers'."""
        team().mean_gradients(self.parameters)
        if self.tuning and self.tuning.penalty:
            self.tuning.penalty().backward()
        self.lengths = self.lengths + team().clip(self.parameters, self.clip)
        self.counted += 1
        self.optimizer.step()
        self.schedule.step()
        if self.tuning and self.tuning.after_step:
            self.tuning.after_step(self.schedule.last_epoch, self.most)
        if self.average is not None:
            self.average.update()
        self.optimizer.zero_grad(set_to_none=True)

    def mean_length(self) -> float:
        """Mean length of the gradients since this was last asked."""
        found = float(self.lengths) / max(1, self.counted)
        self.lengths, self.counted = 0.0, 0
        return found

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """All that goes on from step to step: tensors by name, and numbers for JSON."""
        tensors: dict[str, Tensor] = {}
        numbers: dict[str, float] = {}
        for number, entry in self.optimizer.state_dict()["state"].items():
            for name, value in entry.items():
                if isinstance(value, Tensor):
                    tensors[f"{number}.{name}"] = whole(value).detach().clone().contiguous()
                elif value is not None:
                    numbers[f"{number}.{name}"] = value
        facts: dict[str, Any] = {"steps": self.schedule.last_epoch, "numbers": numbers}
        if self.average is not None:
            tensors |= {f"average.{i}": mean.clone().contiguous() for i, mean in enumerate(self.average.means)}
            facts["averaged"] = self.average.steps
        return tensors, facts

    def restore(self, tensors: dict[str, Tensor], facts: dict[str, Any]) -> None:
        """Put back what `state` gave."""
        state: dict[int, dict[str, Any]] = defaultdict(dict)
        numbered = [p for group in self.optimizer.param_groups for p in group["params"]]
        for key, value in {**tensors, **facts["numbers"]}.items():
            number, _, name = key.partition(".")
            if number != "average":
                like = numbered[int(number)]
                of_weight = isinstance(value, Tensor) and value.shape == like.shape
                state[int(number)][name] = placed(value, like) if of_weight else value
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": dict(state), "param_groups": groups})
        self._set_schedule(facts["steps"])
        if self.average is not None:
            self.average.means = [tensors[f"average.{i}"] for i in range(len(self.parameters))]
            self.average.steps = facts["averaged"]

    def _set_schedule(self, step: int) -> None:
        schedule = self.schedule
        schedule.last_epoch = step
        factors = [factor(step) for factor in schedule.lr_lambdas]
        rates = [base * factor for base, factor in zip(schedule.base_lrs, factors, strict=True)]
        for group, rate in zip(self.optimizer.param_groups, rates, strict=True):
            group["lr"] = rate
        schedule._last_lr = rates  # pyright: ignore[reportAttributeAccessIssue]  # what get_last_lr returns


def _factor(shape: Callable[[float], float], rise: int, steps: int) -> Callable[[int], float]:
    def factor(step: int) -> float:
        return (step + 1) / rise if step < rise else shape(min(1.0, (step - rise) / (steps - rise)))

    return factor


def tables_of(module: nn.Module) -> list[Tensor]:
    """The parameters of a module that are tables, see `genre.optimizers.Group`."""
    return [part.weight for part in module.modules() if isinstance(part, nn.Embedding)]


class Average:
    """Exponential moving average of some parameters: after each step it moves to them by ``1 - decay``.

    The first steps count for more, as the parameters have come from far by then: ``decay`` is reached step by step.
    Polyak and Juditsky (1992), https://doi.org/10.1137/0330046; in this form Tarvainen and Valpola, Mean teachers
    (2017), https://arxiv.org/abs/1703.01780.
    """

    def __init__(self, parameters: list[nn.Parameter], decay: float) -> None:
        self.parameters, self.decay = parameters, decay
        self.means = [parameter.detach().clone() for parameter in parameters]
        self.steps = 0
        """Updates so far."""

    @torch.no_grad()
    def update(self) -> None:
        """Take in the parameters as they are after a step."""
        self.steps += 1
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
        for mean, parameter in zip(self.means, self.parameters, strict=True):
            mean.lerp_(parameter, 1 - decay)

    def swap(self) -> None:
        """Exchange the parameters with their means; a second time puts all back."""
        for i, parameter in enumerate(self.parameters):
            parameter.data, self.means[i] = self.means[i], parameter.data


@contextmanager
def averaged(steppers: Iterable[Stepper]) -> Iterator[None]:
    """Inside, the weights of the steppers are their averages, where they keep one."""
    averages = [stepper.average for stepper in steppers if stepper.average is not None]
    for average in averages:
        average.swap()
    try:
        yield
    finally:
        for average in averages:
            average.swap()
