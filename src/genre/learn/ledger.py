"""What was shown, so that feedback is taken once, for what was shown, and never from elsewhere."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from genre.errors import DataError
from genre.learn.deciding import Chosen
from genre.policies import Arms, Feedback


@dataclass
class Ledger:
    """The slates that wait for their feedback."""

    waiting: dict[str, Feedback] = field(default_factory=dict)
    done: set[str] = field(default_factory=set)
    refused: Counter[str] = field(default_factory=Counter)
    """How often feedback was not taken, by reason."""

    def show(self, slate_id: str, arms: Arms, chosen: Chosen) -> None:
        """Remember a slate as it is shown. Raises `DataError` where its id was used before."""
        if slate_id in self.waiting or slate_id in self.done:
            raise DataError(f"slate '{slate_id}' was shown before; give every slate an id of its own")
        at, k = chosen.places, len(chosen.places)
        number = np.full(k, len(self.waiting) + len(self.done), dtype=np.int64)
        place, nothing = np.arange(k, dtype=np.int32), np.zeros(k)
        self.waiting[slate_id] = Feedback(arms.item[at], nothing, arms.contexts[at], arms.scores[at], place, number)

    def take(self, slate_id: str, rewards: Mapping[int, float]) -> Feedback | None:
        """The feedback of a slate, ``rewards`` by row of the items table, items not named having earned 0.

        None, and counted, where the slate was never shown or has had its feedback. Raises `DataError` for an item that
        it did not show and for a reward that is not finite; the slate then still waits.
        """
        if slate_id in self.done:
            self.refused["given twice"] += 1
            return None
        if slate_id not in self.waiting:
            self.refused["never shown"] += 1
            return None
        shown = self.waiting[slate_id]
        strange = set(rewards) - set(shown.item.tolist())
        if strange:
            self.refused["item not in the slate"] += 1
            raise DataError(f"slate '{slate_id}' did not show item {min(strange)}; it showed {shown.item.tolist()}")
        earned = np.array([float(rewards.get(item, 0.0)) for item in shown.item.tolist()])
        if not np.isfinite(earned).all():
            self.refused["reward not finite"] += 1
            raise DataError(f"slate '{slate_id}': a reward is not a finite number; send a number")
        del self.waiting[slate_id]
        self.done.add(slate_id)
        return Feedback(shown.item, earned, shown.contexts, shown.scores, shown.position, shown.slate)
