"""The best by the pipeline's scores, and now and then any other."""

from __future__ import annotations

from typing import ClassVar, Literal

from genre.component import component
from genre.learn.posteriors import of_best
from genre.policies import Arms, Draw, Feedback
from genre.sections import Share
from genre.types import State


@component
class EpsilonGreedy:
    """Shows the best by score, but for a share of the places, which are filled by any candidate, evenly.

    The simplest log that other policies can be judged by: every candidate has at least ``epsilon / n``. `softmax`
    explores what scores well rather than anything, and loses less. Sutton and Barto (2018), chapter 2.
    """

    epsilon: Share = 0.1
    """Share of the places that explore; larger learns sooner what is new and shows more that is bad."""

    reads: ClassVar[Literal["scores"]] = "scores"

    def start(self, n_items: int, dim: int) -> State:
        return {}

    def draw(self, state: State, arms: Arms) -> Draw:
        return of_best(arms.scores, self.epsilon)

    def update(self, state: State, feedback: Feedback) -> State:
        return state
