"""A batch dealt out to workers, and how much each worker's part of it counts in every head's loss."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor, nn

from genre.batches import Batch
from genre.heads import Examples, Head, Tokens, counted
from genre.noise import Dealt
from genre.parallel import Team
from genre.sheets import IGNORED, Rows, Sheet


@dataclass(frozen=True)
class Share:
    """One worker's windows of a batch. All workers have its candidates, so that they tell from the same negatives."""

    batch: Batch
    windows: Dealt
    examples: Dealt
    weight: float
    """0 where the batch has no window for this worker, which then computes one for nothing."""

    @classmethod
    def of(cls, batch: Batch, team: Team) -> Share:
        """This worker's windows, those that show one list together always with one worker."""
        owner, groups = _joined_windows(batch)
        groups, weight = _of_team(groups, team)
        windows = np.flatnonzero(np.isin(owner, groups))
        numbers = np.full(len(batch.mask), -1, dtype=np.int64)
        numbers[windows] = np.arange(len(windows))
        window = batch.window.numpy()
        rows = np.flatnonzero(numbers[window] >= 0)
        w, m = torch.from_numpy(windows), torch.from_numpy(rows)
        of_windows = {name: getattr(batch, name)[w] for name in ("history", "mask", "value", "action")}
        of_rows = {name: getattr(batch, name)[m] for name in ("state", "item", "positive", "target", "group")}
        made = replace(
            batch,
            **of_windows,
            **of_rows,
            window=torch.from_numpy(numbers[window[rows]]),
            labels={name: label[m] for name, label in batch.labels.items()},
            seen=None if batch.seen is None else batch.seen[m],
        )
        return cls(made, Dealt(w, len(batch.mask)), Dealt(m, len(window)), weight)

    def counts(self, heads: dict[str, Head], modules: nn.ModuleDict) -> dict[str, float]:
        """How many examples each head's loss is the mean of."""
        batch = self.batch
        nothing = torch.full(batch.item.shape, torch.nan)
        return {
            name: self.weight
            * counted(
                head,
                modules[f"head_{name}"],
                Examples(
                    labels=batch.labels.get(name, nothing),
                    features=torch.empty(len(batch.item), 0),
                    group=batch.group,
                    positive=batch.positive,
                    target=batch.target,
                ),
            )
            for name, head in heads.items()
        }


def _joined_windows(batch: Batch) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """A number for each window, the same for windows with a list in common; and the numbers, each once."""
    n, group = len(batch.mask), batch.group.numpy()
    shown = group >= 0
    if not shown.any():
        return np.arange(n), np.arange(n)
    window, number = batch.window.numpy()[shown], np.unique(group[shown], return_inverse=True)[1]
    links = sparse.coo_matrix((np.ones(len(window)), (window, n + number)), shape=(n + number.max() + 1,) * 2)
    owner = sparse.csgraph.connected_components(links, directed=False)[1][:n].astype(np.int64)
    return owner, np.unique(owner)


def _of_team(things: NDArray[np.int64], team: Team) -> tuple[NDArray[np.int64], float]:
    mine, weight = team.dealt(len(things))
    return things[mine], weight


@dataclass(frozen=True)
class TextShare:
    """One worker's texts of a piece of a batch."""

    rows: Rows
    dealt: Dealt
    longest: int
    """Tokens of the longest text of the whole piece."""
    weight: float

    @classmethod
    def of(cls, part: Rows, sheet: Sheet, team: Team, together: bool = False) -> TextShare:
        """This worker's texts; ``together`` leaves those of one list with one worker."""
        group = sheet.group[part]
        number = np.where(group >= 0, group, -1 - np.arange(len(part))) if together else np.arange(len(part))
        kept, weight = _of_team(np.unique(number), team)
        at = np.flatnonzero(np.isin(number, kept))
        longest = max(len(sheet.tokens[i]) for i in part)
        return cls(part[at], Dealt.of(at, len(part)), longest, weight)

    def counts(self, heads: dict[str, Head], modules: nn.ModuleDict, sheet: Sheet) -> dict[str, float]:
        """How many examples each head's loss is the mean of."""
        return {
            name: self.weight * counted(head, modules[f"head_{name}"], _labelled(name, head, sheet, self.rows))
            for name, head in heads.items()
        }


def _labelled(name: str, head: Head, sheet: Sheet, rows: Rows) -> Examples:
    """Examples of which the labels alone are there."""
    labels = torch.from_numpy(sheet.labels[name][rows]) if name in sheet.labels else torch.full((len(rows),), torch.nan)
    group = torch.from_numpy(sheet.group[rows].astype(np.int64))
    tokens = None
    if head.reads == "tokens":
        known = [sheet.token_labels[name][row] for row in rows] if name in sheet.token_labels else []
        flat = np.concatenate([*known, np.array([IGNORED])])
        tokens = Tokens(torch.empty(1, len(flat), 0), torch.from_numpy(flat)[None])
    return Examples(labels, torch.empty(len(rows), 0), group, tokens=tokens)


def gathered(vectors: Tensor, share: TextShare, team: Team) -> Tensor:
    """Everybody's vectors of a piece of a batch ``[whole piece, dim]``; the gradient goes to one's own alone."""
    rows = share.dealt.rows
    found = vectors.new_zeros(share.dealt.total, vectors.shape[1])
    found[rows] = share.weight * vectors.detach()
    everybody = team.sum(found)
    return everybody.index_put((rows,), share.weight * vectors + (1 - share.weight) * everybody[rows])
