"""Several workers that do one piece of work together: who they are, and what they tell each other.

Code asks `team` and works the same for one worker, where all of this does nothing. Every worker runs the same program
on the same data and draws the same random numbers; where work is dealt out, each does its part and all know the result.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BeforeValidator
from pydantic_core import PydanticCustomError

if TYPE_CHECKING:
    from torch import Tensor


def _no_tensor_parallel(value: object) -> object:
    """Say why what others offer is not there, in the place of a list of what is."""
    if value in ("tensor", "tp", "tensor_parallel"):
        raise PydanticCustomError(
            "no_tensor_parallel",
            "tensor parallel is not there: it has all workers read the same texts, and here each reads its own; take "
            "full, which serves the same models (docs/scale.md)",
        )
    return value


Shard = Annotated[Literal["none", "full"], BeforeValidator(_no_tensor_parallel)]
Work = Callable[..., None]
"""A function of a module, given what can be sent to another process; it writes files, and returns nothing."""
BUCKET = 1 << 23
"""Numbers that are sent at once: 32 MB."""


@dataclass(frozen=True)
class Team:
    """The workers, seen from one of them."""

    rank: int = 0
    """Which of them this is; 0 leads: it alone prints and writes."""
    size: int = 1
    local_size: int = 1
    """How many of them share this machine."""
    device: str = "cpu"
    """Where the language model computes."""
    shard: Shard = "none"
    """Whether each worker keeps all weights of the language model, or a part of every one (``full``)."""

    @property
    def leads(self) -> bool:
        """Whether this worker prints and writes."""
        return self.rank == 0

    @property
    def alone(self) -> bool:
        """Whether there is nobody else."""
        return self.size == 1

    def mine(self, n: int) -> NDArray[np.int64]:
        """Which of ``n`` things are this worker's: every `size`-th, as things in order of size are dealt evenly so."""
        return np.arange(self.rank, n, self.size)

    def dealt(self, n: int) -> tuple[NDArray[np.int64], float]:
        """`mine`, or the first with weight 0 where there is none: all workers must take part in each computation."""
        mine = self.mine(n)
        return (mine, 1.0) if len(mine) else (np.zeros(1, dtype=np.int64), 0.0)

    def wait(self) -> None:
        """Go on when all have come here."""
        if not self.alone:
            self._sum(np.zeros(1))

    def total(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """The sum of everybody's numbers."""
        return values if self.alone else self._sum(values)

    def _sum(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        import torch

        return self.sum(torch.from_numpy(np.array(values, dtype=np.float64))).numpy()

    def sum(self, tensor: Tensor) -> Tensor:
        """The sum of everybody's tensor, in its place."""
        if not self.alone:
            import torch.distributed as dist

            dist.all_reduce(tensor)
        return tensor

    def mean(self, tensor: Tensor) -> Tensor:
        """The mean of everybody's tensor, in its place."""
        return tensor if self.alone else self.sum(tensor).div_(self.size)

    def means(self, numbers: dict[str, float]) -> dict[str, float]:
        """The mean of everybody's numbers, by name."""
        if self.alone:
            return numbers
        found = self._sum(np.array(list(numbers.values()))) / self.size
        return dict(zip(numbers, found.tolist(), strict=True))

    def first(self, tensor: Tensor) -> Tensor:
        """What the first worker holds."""
        if not self.alone:
            import torch.distributed as dist

            dist.broadcast(tensor, 0)
        return tensor

    def stretch(self, n: int) -> slice:
        """Which of ``n`` things in a row are this worker's; the stretches of all, one behind the other, are the row."""
        return slice(n * self.rank // self.size, n * (self.rank + 1) // self.size)

    def chained(self, values: list[Any]) -> list[Any]:
        """Everybody's things in a row."""
        return [value for one in self.joined(values) for value in one]

    def apart(self) -> AbstractContextManager[Team]:
        """Inside, this worker is alone: for work on its own stretch of things, of which the others know nothing."""
        return joining(Team(device=self.device))

    def joined(self, value: Any) -> list[Any]:
        """What each worker gives, in the order of their ranks."""
        if self.alone:
            return [value]
        import torch.distributed as dist

        found: list[Any] = [None] * self.size
        dist.all_gather_object(found, value)
        return found

    def weighed(self, losses: dict[str, Tensor], counts: dict[str, float]) -> dict[str, Tensor]:
        """Losses whose mean over the workers is the loss of the whole batch, and so are their gradients.

        Each is a mean over so many ``counts`` examples of this worker's.
        """
        if self.alone:
            return losses
        totals = self._sum(np.array([counts[name] for name in losses]))
        pairs = zip(losses.items(), totals.tolist(), strict=True)
        return {name: loss * (self.size * counts[name] / total if total else 0.0) for (name, loss), total in pairs}

    def mean_gradients(self, parameters: Iterable[Tensor]) -> None:
        """Make every gradient the mean of everybody's. One that nobody has stays away.

        Gradients of weights in parts are left alone: whoever holds a part has been sent its sum already.
        """
        if self.alone:
            return
        import torch

        whole = [p for p in parameters if not is_sharded(p)]
        has = self._sum(np.array([float(p.grad is not None) for p in whole]))
        moved = [p for p, n in zip(whole, has, strict=True) if n > 0]
        for bucket in _buckets(moved):
            flat = torch.cat([torch.zeros_like(p).flatten() if p.grad is None else p.grad.flatten() for p in bucket])
            parts = self.mean(flat).split([p.numel() for p in bucket])
            for parameter, part in zip(bucket, parts, strict=True):
                parameter.grad = part.view_as(parameter)

    def mean_rows(self, rows: list[list[Tensor | None]], like: Sequence[Tensor]) -> list[list[Tensor | None]]:
        """The same for gradients of several tasks, a row each, a leaf each."""
        if self.alone:
            return rows
        import torch

        has = self._sum(np.array([[float(g is not None) for g in row] for row in rows]))
        found: list[list[Tensor | None]] = []
        for row, known in zip(rows, has, strict=True):
            made = [torch.zeros_like(leaf) if g is None else g for g, leaf in zip(row, like, strict=True)]
            found.append([self.mean(g.contiguous()) if n else None for g, n in zip(made, known, strict=True)])
        return found

    def clip(self, parameters: Sequence[Tensor], longest: float) -> Tensor | float:
        """Shorten the gradient of all parameters together to ``longest``; its length before. Some may be in parts."""
        import torch
        from torch import nn

        parts = [p for p in parameters if is_sharded(p)]
        if not parts:
            return nn.utils.clip_grad_norm_(parameters, longest)
        squares = 0.0
        for parameter in parameters:
            if parameter.grad is not None:
                norm = torch.linalg.vector_norm(parameter.grad)
                squares += float(whole(norm)) ** 2
        length = math.sqrt(squares)
        factor = min(1.0, longest / (length + 1e-6))
        for parameter in parameters:
            if parameter.grad is not None:
                parameter.grad.mul_(factor)
        return length


def _buckets(parameters: Sequence[Tensor]) -> Iterator[list[Tensor]]:
    """Parameters of one kind of numbers and one device, so many at a time as are sent at once."""
    kinds = dict.fromkeys((p.dtype, p.device) for p in parameters)
    for kind in kinds:
        bucket: list[Tensor] = []
        for parameter in parameters:
            if (parameter.dtype, parameter.device) == kind:
                bucket.append(parameter)
                if sum(p.numel() for p in bucket) >= BUCKET:
                    yield bucket
                    bucket = []
        if bucket:
            yield bucket


def is_sharded(tensor: Any) -> bool:
    """Whether each worker holds a part of it only."""
    return hasattr(tensor, "full_tensor")


def whole(tensor: Any) -> Tensor:
    """All of a tensor of which each worker may hold a part only; all must ask."""
    return tensor.full_tensor() if is_sharded(tensor) else tensor


def placed(values: Tensor, like: Any) -> Any:
    """A whole tensor as ``like`` is: in parts if that is."""
    if not is_sharded(like):
        return values
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(values.to(like.device), like.device_mesh, like.placements)


_teams: list[Team] = [Team()]


def team() -> Team:
    """The workers that this process is one of."""
    return _teams[-1]


@contextmanager
def joining(made: Team) -> Iterator[Team]:
    """Inside, this process is a worker of a team."""
    _teams.append(made)
    try:
        yield made
    finally:
        _teams.pop()
