"""A history and a candidate in one prompt."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, NonNegativeInt, PositiveInt
from scipy import sparse

from genre.component import Slot, component
from genre.data import PARTS, Histories, Log
from genre.formulations import Asked, Propose
from genre.sources import Source
from genre.types import Ints


@component
class Cross:
    """The history and one candidate are read together, so that every word of one sees those of the other.

    A cross-encoder, or a decoder asked a question: it scores pairs, so it re-ranks what sources retrieved
    (``pipeline.rerank``) and never writes a recommendation. Dear: a pass of the language model for each pair.
    Bao et al., TALLRec (2023), https://arxiv.org/abs/2305.00447; Nogueira and Cho (2019),
    https://arxiv.org/abs/1901.04085.
    """

    reads: ClassVar[Literal["pairs"]] = "pairs"

    prompt: str = "{history} [SEP] {item}"
    """What is read: ``{history}`` and ``{item}``, each written by ``model.template``; ``{history:60}`` is at most 60
    tokens. In the place of the history ``{liked}`` and ``{disliked}``, or one of them, tell apart what a person made of
    it. Where the prompt would be longer than ``model.max_tokens``, the oldest of the history go."""
    liked: str = "value >= 4"
    """What makes an event of the history a liked one: a comparison of ``value`` or ``action``. An event that has no
    such value was chosen at least, and counts as liked."""
    separator: str = "; "
    """What stands between the items of a history, oldest first."""
    targets: PositiveInt = 5
    """Latest training interactions of each person that are asked about; more learn more and cost time."""
    negatives: NonNegativeInt = 4
    """Items not chosen that are asked about beside each that was; 0 where the log itself has skips to learn from."""
    source: Annotated[Source, Slot("sources")] = Field(default_factory=lambda: Slot("sources").build("transitions"))
    """Whose likely items the negatives are drawn from, so that the model learns to tell apart what it will be shown."""
    pool: PositiveInt = 50
    """How many of that source's best the negatives are drawn from; fewer are harder to tell from what was chosen."""

    def ask(self, log: Log, part: str, seed: int, propose: Propose) -> Asked:
        mine = np.flatnonzero(log.part == PARTS.index(part))
        known = log.parts("train") if part == "train" else log.parts("train", "valid")
        if part == "train":
            latest = np.flatnonzero(known.events_left() <= self.targets)
            rows, histories = mine[latest], Histories.at(known, latest)
        else:
            # Nothing of a part that is judged is read: all its questions are asked from the history before it.
            rows = mine
            histories = Histories.of(log.before(part), log.user[rows])
        group, person, chosen = _groups(log, rows), np.arange(len(rows)), log.positive[rows]
        proposed = propose(histories.take(chosen), self.pool) if self.negatives else np.zeros((0, 0), dtype=np.int32)
        drawn = _draw(proposed, self.negatives, known.matrix(), log.user[rows[chosen]], seed)
        of = np.repeat(np.flatnonzero(chosen)[: len(drawn)], (drawn >= 0).sum(1))
        return Asked(
            row=np.concatenate([rows, np.full(len(of), -1)]),
            user=np.concatenate([log.user[rows], log.user[rows[of]]]),
            item=np.concatenate([log.item[rows], drawn[drawn >= 0]]),
            group=np.concatenate([group, group[of]]),
            person=np.concatenate([person, of]),
            histories=histories,
        )


def _groups(log: Log, rows: NDArray[np.int64]) -> Ints:
    """A number for each row, the same for rows of one impression."""
    alone = -1 - np.arange(len(rows))
    keys = np.stack([log.user[rows], np.where(log.impression[rows] >= 0, log.impression[rows], alone)])
    return np.unique(keys, axis=1, return_inverse=True)[1].reshape(-1).astype(np.int32)


def _draw(proposed: Ints, n: int, chosen: sparse.csr_matrix, users: Ints, seed: int) -> Ints:
    """Up to ``n`` of what each person would be shown and has not chosen: ``[people, n]``, -1 where there are fewer."""
    if not proposed.size:
        return np.zeros((0, 0), dtype=np.int32)
    pairs = np.repeat(users, proposed.shape[1]), np.maximum(proposed, 0).ravel()
    taken = np.asarray(chosen[pairs]).reshape(proposed.shape) > 0
    keys = np.random.default_rng([seed, 3]).random(proposed.shape)
    keys[taken | (proposed < 0)] = np.inf
    order = np.argsort(keys, axis=1, kind="stable")[:, :n]
    drawn = np.take_along_axis(proposed, order, 1)
    return np.where(np.isfinite(np.take_along_axis(keys, order, 1)), drawn, -1).astype(np.int32)
