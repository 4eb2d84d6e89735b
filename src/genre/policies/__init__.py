"""Policies: which of the candidates are shown, with what probability, and what is learned from the feedback."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from genre.errors import DataError
from genre.types import Bools, Ints, State

NAMED: dict[str, Any] = {
    "anyOf": [{"type": "string"}, {"type": "object", "properties": {"type": {"type": "string"}}, "required": ["type"]}]
}
"""A policy within a policy, in a JSON schema: spelled out, each would hold all others without end."""

Doubles = NDArray[np.float64]

Draw = Callable[[Bools], Doubles]
"""From which candidates are still open to the probability of each as the next of the slate; those sum to 1."""


@dataclass(frozen=True)
class Arms:
    """The ``n`` candidates of one decision."""

    item: Ints
    """``[n]``: rows of the items table."""
    scores: Doubles
    """``[n]``: what the supervised pipeline says of each; larger is better."""
    contexts: Doubles
    """``[n, d]``: what is known of the person together with each item, such as the product of their vectors."""

    def __len__(self) -> int:
        return len(self.item)


@dataclass(frozen=True)
class Feedback:
    """What ``n`` shown items earned, in the order of slates and of positions in them."""

    item: Ints
    """``[n]``: rows of the items table."""
    reward: Doubles
    """``[n]``: finite, larger is better."""
    contexts: Doubles
    """``[n, d]``: as they were when the items were shown."""
    scores: Doubles
    """``[n]``: likewise."""
    position: Ints
    """``[n]``: from 0, the top of the slate."""
    slate: NDArray[np.int64]
    """``[n]``: a number for each slate; rows of one slate stand together."""
    weight: Doubles = field(default_factory=lambda: np.zeros(0))
    """``[n]``: how much each row counts, 1 unless told."""

    def __post_init__(self) -> None:
        if not len(self.weight):
            object.__setattr__(self, "weight", np.ones(len(self.reward)))
        for name in ("reward", "contexts", "scores", "weight"):
            bad = ~np.isfinite(getattr(self, name))
            if bad.any():
                row = int(np.argwhere(bad)[0][0])
                raise DataError(f"feedback, row {row}: {name} is not a finite number; mend the log or leave it out")

    def __len__(self) -> int:
        return len(self.item)

    def where(self, mask: Bools) -> Feedback:
        """The rows where ``mask`` is true."""
        names = ("item", "reward", "contexts", "scores", "position", "slate", "weight")
        return replace(self, **{name: getattr(self, name)[mask] for name in names})


class Policy(Protocol):
    """One way to choose. A slate is filled from the top, each place by one draw among the candidates still open."""

    reads: ClassVar[Literal["scores", "items", "contexts"]]
    """What it chooses by: the pipeline's scores, what each item earned so far, or the contexts."""

    def start(self, n_items: int, dim: int) -> State:
        """The state before any feedback, for a catalogue and the length of a context."""
        ...

    def draw(self, state: State, arms: Arms) -> Draw:
        """How the next place of a slate of these candidates is filled."""
        ...

    def update(self, state: State, feedback: Feedback) -> State:
        """The state after the feedback, in one piece or in several; ``state`` stays as it is."""
        ...
