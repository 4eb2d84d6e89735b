"""A pipeline asked about people and items as another run numbers them: what two runs share is known by its id."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from genre.cases import Cases
from genre.data import Dataset, Histories
from genre.pipeline import Pipeline
from genre.systems import Score
from genre.types import Floats

Places = NDArray[np.int64]
"""For each row of the one that asks, the row of the one that answers; -1 for what that does not know."""


@dataclass(frozen=True)
class Translation:
    """From the tables that cases were made from to those of a pipeline."""

    item: Places
    user: Places
    action: Places
    n_items: int
    """Items of the one that answers."""

    @classmethod
    def between(cls, asks: Dataset, actions: tuple[str, ...], answers: Pipeline) -> Translation:
        """From ``asks``, whose log has ``actions``, to the tables of ``answers``."""
        return cls(
            _places(asks.items["item_id"].to_pylist(), answers.item_ids),
            _places(asks.users["user_id"].to_pylist(), answers.data.users["user_id"].to_pylist()),
            _places(actions, answers.log.actions),
            answers.data.items.num_rows,
        )

    def histories(self, asked: Histories) -> Histories:
        """The histories without what the one that answers does not know."""
        item = self.item[asked.item]
        kept = item >= 0
        counts = np.bincount(asked.owner[kept], minlength=len(asked))
        action = asked.action[kept]
        return replace(
            asked,
            offsets=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
            item=item[kept].astype(np.int32),
            value=asked.value[kept],
            action=np.where(action >= 0, self.action[action], -1).astype(np.int32),
            user=np.where(asked.users >= 0, self.user[asked.users], -1).astype(np.int32),
            time=None if asked.time is None else asked.time[kept],
        )

    def scores(self, found: Floats) -> Floats:
        """The scores by the rows of the one that asks; -inf, which sinks, for items that are not known."""
        known = self.item >= 0
        made = np.full((len(found), len(self.item)), -np.inf, dtype=np.float32)
        made[:, known] = found[:, self.item[known]]
        return made


def translated(pipeline: Pipeline, translation: Translation) -> Score:
    """A pipeline as a system that answers cases of another run. Raises what a failing source raised."""

    def score(cases: Cases) -> Floats:
        within = None
        if cases.shown is not None:
            known = translation.item >= 0
            within = np.zeros((len(cases), translation.n_items), dtype=bool)
            within[:, translation.item[known]] = cases.allowed()[:, known]
        found, trace = pipeline.score_block(translation.histories(cases.histories), within)
        trace.insist()
        return translation.scores(found)

    return score


def _places(asks: Sequence[str], answers: Sequence[str]) -> Places:
    at = {name: row for row, name in enumerate(answers)}
    return np.array([at.get(name, -1) for name in asks], dtype=np.int64)
