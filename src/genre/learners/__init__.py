"""Learners: what `genre learn fit` makes of a log, a policy over the model's scores or the model itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

if TYPE_CHECKING:
    from torch import Tensor

Say = Callable[[str], None]


class Learner(Protocol):
    """One way to learn from a log, from the supervised model on and never far from it."""

    makes: ClassVar[Literal["policy", "model"]]
    """What it makes, and which of the contracts below it keeps."""


class PolicyLearner(Learner, Protocol):
    """Learns, from logged slates, what is added to the scores of the supervised softmax; makes the policy `learned`."""

    temperature: float
    """What the standardised scores are divided by."""
    over_sessions: ClassVar[bool]
    """Whether it looks ahead, so that it is whole sessions that judge it."""

    def learn(self, train: Any, valid: Any, seed: int, say: Say) -> tuple[Any, list[dict[str, float]]]:
        """`genre.learn.policyfitting.Weights` from the `Decisions` of two parts, and what was measured after each pass.

        Raises `GenreError` for a log that it cannot learn from.
        """
        ...


class ModelLearner(Learner, Protocol):
    """Trains the weights of a `cross` model on, by a loss of lists: those of one group were, or might be, shown."""

    rate: float
    """Share of the step sizes that the supervised model was fine-tuned with."""
    epochs: int
    """Passes at most."""
    patience: int
    """Passes without a better order on validation before it stops."""

    def loss(self, now: Tensor, first: Tensor, chosen: Tensor, group: Tensor) -> Tensor:
        """Mean loss of the lists of some pairs: ``[m]`` each, the scores ``now`` and those that the supervised model
        gave ``first``, whether they were ``chosen``, above 0, and the number of their list.

        Zero, with a gradient, where no list has both what was chosen and what was not.
        """
        ...
