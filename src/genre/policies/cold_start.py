"""A share of what is shown for items that are new."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import PositiveInt, WithJsonSchema

from genre.component import Slot, component
from genre.policies import NAMED, Arms, Doubles, Draw, Feedback, Policy
from genre.sections import Share, slot
from genre.types import Bools, State

OWN = "shown"
"""The state's own array, beside those of the inner policy."""

Inner = Annotated[Policy, Slot("policies"), WithJsonSchema(NAMED)]


@component
class ColdStart:
    """Another policy, with a share of the places for items that have hardly been shown, drawn evenly among them.

    An item is new until it has been shown ``until`` times, which the state counts. So a catalogue's new items are all
    tried at a price that is known beforehand. Without it a new item must be wanted by the inner policy to be seen,
    which Thompson policies see to for items whose contexts are unlike the others', but not for all.
    """

    inner: Inner = slot("policies", "thompson_neural")
    """What fills the other places, and learns from all."""
    share: Share = 0.1
    """Share of the places for new items while a candidate is new; larger learns of them sooner and costs more."""
    until: PositiveInt = 20
    """Times that an item is shown before it is new no more; larger is surer of each and takes longer."""

    reads: ClassVar[Literal["contexts"]] = "contexts"

    def start(self, n_items: int, dim: int) -> State:
        return {OWN: np.zeros(n_items, dtype=np.int64), **self.inner.start(n_items, dim)}

    def draw(self, state: State, arms: Arms) -> Draw:
        inner, new = self.inner.draw(_without(state), arms), state[OWN][arms.item] < self.until

        def draw(still: Bools) -> Doubles:
            said, fresh = inner(still), new & still
            n = int(fresh.sum())
            return (1 - self.share) * said + self.share * fresh / n if n else said

        return draw

    def update(self, state: State, feedback: Feedback) -> State:
        shown = state[OWN] + np.bincount(feedback.item, minlength=len(state[OWN]))
        return {OWN: shown, **self.inner.update(_without(state), feedback)}


def _without(state: State) -> State:
    return {name: array for name, array in state.items() if name != OWN}
