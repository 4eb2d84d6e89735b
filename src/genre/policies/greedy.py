"""The best by the pipeline's scores, always."""

from __future__ import annotations

from typing import ClassVar, Literal

from genre.component import component
from genre.learn.posteriors import of_best
from genre.policies import Arms, Draw, Feedback
from genre.types import State


@component
class Greedy:
    """Shows the best by score and learns nothing: what a recommender does that does not explore.

    Its log says nothing of what it did not show, so no other policy can be judged by it. Take `epsilon_greedy` or
    `softmax` to be able to.
    """

    reads: ClassVar[Literal["scores"]] = "scores"

    def start(self, n_items: int, dim: int) -> State:
        return {}

    def draw(self, state: State, arms: Arms) -> Draw:
        return of_best(arms.scores, 0.0)

    def update(self, state: State, feedback: Feedback) -> State:
        return state
