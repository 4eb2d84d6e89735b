"""Training batches: windows of users' histories, every interaction trained once an epoch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from genre.data import Log
from genre.types import Floats, Ints


@dataclass(frozen=True)
class Batch:
    """``b`` windows of up to ``l`` events, and ``m`` interactions to learn from; item positions are into ``rows``."""

    rows: NDArray[np.int64]
    """``[n]``: the distinct items of the batch, as rows of the catalogue."""
    history: Tensor
    """``[b, l]``; 0 where ``mask`` is false."""
    mask: Tensor
    """``[b, l]``: true at events."""
    value: Tensor
    """``[b, l]``: amount of each event; NaN for none."""
    action: Tensor
    """``[b, l]``."""
    window: Tensor
    """``[m]``: the window of each interaction."""
    state: Tensor
    """``[m]``: events of the window that came before it."""
    item: Tensor
    """``[m]``."""
    positive: Tensor
    """``[m]``: true where the person chose the item."""
    labels: dict[str, Tensor]
    """``[m]`` by head; NaN where not known."""
    candidates: Tensor
    """``[c]``: items to tell the chosen ones from."""
    target: Tensor
    """``[m]``: where each item stands among the candidates, -1 if it does not."""
    log_q: Tensor
    """``[c]``: log of the probability that each candidate is in the batch."""
    group: Tensor
    """``[m]``: number of the list that each item was shown in; -1 for none."""
    seen: Tensor | None = None
    """``[m, c]``: true where the person has chosen the candidate at another time; made if a head masks these."""


class TrainingLog:
    """A training log cut into windows, anew for each epoch, so that context is lost at other places each time."""

    def __init__(
        self, log: Log, labels: dict[str, Floats], max_history: int, negatives: int | None, mask_seen: bool = False
    ) -> None:
        self.labels, self.max_history, self.negatives = labels, max_history, negatives
        self.n_items = log.n_items
        positive = log.positive
        self.user, self.item, self.positive = log.user, log.item, positive
        self.events = np.flatnonzero(positive)
        """Rows that are events, by user and time."""
        self.value, self.action = log.value, log.action
        shown = np.flatnonzero(log.impression >= 0)
        keys = np.stack([log.user[shown], log.impression[shown]])
        self.shown = np.full(len(log), -1, dtype=np.int64)
        self.shown[shown] = np.unique(keys, axis=1, return_inverse=True)[1].reshape(-1)
        """Number of the list that each row was shown in, whoever else has an impression of that name; -1 for none."""
        self.n_events = np.bincount(log.user[positive], minlength=log.n_users)
        self.first_event = np.cumsum(self.n_events) - self.n_events
        self.before = log.events_before()
        counts = np.bincount(log.item[positive], minlength=log.n_items)
        self.chosen = log.matrix() if mask_seen else None
        self.share = counts / max(1, counts.sum())

    def epoch(self, batch_size: int, rng: np.random.Generator) -> Iterator[Batch]:
        """Yield batches of ``batch_size`` windows in random order; together they hold every interaction once."""
        owner, start, rows, offsets = self._windows(rng)
        order = rng.permutation(len(owner))
        for i in range(0, len(order), batch_size):
            chosen = order[i : i + batch_size]
            yield self._batch(owner[chosen], start[chosen], [rows[offsets[w] : offsets[w + 1]] for w in chosen], rng)

    def count(self, batch_size: int) -> int:
        """Most batches that an epoch can have."""
        used = self.n_events[np.unique(self.user)]
        windows = np.maximum(1, np.ceil(used / self.max_history) + (used > self.max_history))
        return int(np.ceil(windows.sum() / batch_size))

    def _windows(self, rng: np.random.Generator) -> tuple[Ints, Ints, NDArray[np.int64], NDArray[np.int64]]:
        """Owner and first event of each window, the rows sorted by window, and where each window's rows begin.

        The first window of a user with a long history has a random length, the others ``max_history``; a row belongs
        to the window in which at least one event, if there is any, comes before it.
        """
        longest = self.max_history
        first = np.where(self.n_events > longest, rng.integers(1, longest + 1, len(self.n_events)), longest)
        mine = first[self.user]
        number = np.where(self.before <= mine, 0, 1 + (self.before - mine - 1) // longest)
        keys = self.user.astype(np.int64) * (int(number.max(initial=0)) + 1) + number
        _, inverse, counts = np.unique(keys, return_inverse=True, return_counts=True)
        rows = np.argsort(inverse, kind="stable")
        offsets = np.concatenate([[0], np.cumsum(counts)])
        leading = rows[offsets[:-1]]
        owner, number = self.user[leading], number[leading]
        start = np.where(number == 0, 0, first[owner] + (number - 1) * longest)
        return owner, start.astype(np.int32), rows, offsets

    def _batch(self, owner: Ints, start: Ints, members: list[NDArray[np.int64]], rng: np.random.Generator) -> Batch:
        rows = np.concatenate(members)
        window = np.repeat(np.arange(len(owner)), [len(one) for one in members])
        state = self.before[rows] - start[window]
        lengths = np.zeros(len(owner), dtype=np.int64)
        np.maximum.at(lengths, window, state)
        steps = np.arange(max(1, int(lengths.max())))
        mask = steps < lengths[:, None]
        at = np.where(mask, self.first_event[owner][:, None] + start[:, None] + steps, 0)
        events = self.events[at] if len(self.events) else at
        chosen = np.unique(self.item[rows[self.positive[rows]]])
        items, candidates, log_q = self._candidates(chosen, self.item[events[mask]], self.item[rows], rng)
        positions = np.full(self.n_items, -1, dtype=np.int64)
        positions[items[candidates]] = np.arange(len(candidates))
        item = np.searchsorted(items, self.item[rows])
        return Batch(
            rows=items,
            history=torch.from_numpy(np.where(mask, np.searchsorted(items, self.item[events]), 0)),
            mask=torch.from_numpy(mask),
            value=torch.from_numpy(self.value[events]),
            action=torch.from_numpy(self.action[events].astype(np.int64)),
            window=torch.from_numpy(window),
            state=torch.from_numpy(state.astype(np.int64)),
            item=torch.from_numpy(item),
            positive=torch.from_numpy(self.positive[rows]),
            labels={name: torch.from_numpy(label[rows]) for name, label in self.labels.items()},
            candidates=torch.from_numpy(candidates),
            target=torch.from_numpy(positions[self.item[rows]]),
            log_q=torch.from_numpy(log_q),
            group=torch.from_numpy(self.shown[rows].astype(np.int64)),
            seen=self._seen(rows, items[candidates]) if self.chosen is not None else None,
        )

    def _seen(self, rows: NDArray[np.int64], candidates: NDArray[np.int64]) -> Tensor:
        """Candidates that the person of each row has chosen, but for the row's own item."""
        assert self.chosen is not None
        seen = self.chosen[self.user[rows]][:, candidates].toarray() > 0
        return torch.from_numpy(seen & (candidates != self.item[rows][:, None]))

    def _candidates(
        self, chosen: Ints, history: Ints, targets: Ints, rng: np.random.Generator
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], Floats]:
        """Distinct items of the batch, which of them are candidates, and the log of each one's chance to be drawn."""
        if self.negatives is None:
            everything = np.arange(self.n_items)
            return everything, everything, np.zeros(self.n_items, dtype=np.float32)
        drawn = rng.integers(0, self.n_items, self.negatives)
        candidates = np.union1d(chosen, drawn).astype(np.int64)
        items = np.unique(np.concatenate([candidates, history, targets])).astype(np.int64)
        expected = len(targets) * self.share[candidates] + self.negatives / self.n_items
        return items, np.searchsorted(items, candidates), np.log(-np.expm1(-expected)).astype(np.float32)
