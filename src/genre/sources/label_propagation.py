"""A walk over people, items and what items have in common."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np
from pydantic import Field, NonNegativeFloat, PositiveInt
from scipy import sparse

from genre.component import component, suggest
from genre.data import Histories, Log
from genre.errors import ConfigError
from genre.sources import Resources
from genre.types import Floats, State

if TYPE_CHECKING:
    import pyarrow as pa

BLOCK = 128
"""People who walk at a time."""

Share = Annotated[float, Field(ge=0, le=1)]


@component
class LabelPropagation:
    """Where a walk from the items of the history comes by: through people who chose them, words and links they share.

    Reaches items that nobody has chosen yet, and items that share no person but a third item with the history. Where
    the items have neither words nor links `item_knn` is quicker and as good. People are answered from their history
    alone. Cooper et al. (2014), https://doi.org/10.1145/2567948.2579244, and Paudel et al. (2017),
    https://doi.org/10.1145/2955101, with the words of items added to the graph.
    """

    top_k: PositiveInt = 300
    """Candidates to retrieve; more miss less and cost time."""
    columns: tuple[str, ...] = ()
    """Columns of the items table whose words join items: lists, or strings to be split; none: every column of lists."""
    links: tuple[str, ...] = ()
    """Columns with ids of other items, such as citations: each is an edge to that item, in both directions. An id that
    is not in the catalogue joins the items that name it."""
    separators: str = "|,"
    """Characters that stand between the words of a column that holds no lists."""
    through: Share = 0.3
    """Share of the walk that goes through words and links instead of people; larger finds more that is new."""
    restart: Annotated[float, Field(ge=0, lt=1)] = 0.5
    """Share of the walk that begins again at each step; larger stays nearer to the history."""
    steps: PositiveInt = 2
    """Steps from item to item; more reach further and take longer."""
    power: NonNegativeFloat = 0.3
    """Scores are divided by the item's popularity to this power; larger prefers rare items."""
    GRID: ClassVar[dict[str, list[Any]]] = {"through": [0.1, 0.4], "restart": [0.2, 0.8], "power": [0.0, 0.3, 0.6]}

    def fit(self, log: Log, resources: Resources) -> State:
        people = sparse.csr_matrix(log.matrix().T)
        columns = self.columns or _lists(resources.items, self.links)
        ways = [_Way(people, _rows(people.T))]
        ways += [self._words(resources.items, name) for name in columns]
        ways += [self._links(resources.items, name) for name in self.links]
        shares = self._shares(ways)
        away = sparse.hstack(
            [sparse.diags_array(share) @ _rows(way.away) for share, way in zip(shares, ways, strict=True)]
        )
        back = sparse.vstack([way.back for way in ways])
        counts = np.asarray(people.sum(1)).ravel()
        return {
            # Turned round, as the walkers stand in columns.
            "away": sparse.csr_matrix(away.T, dtype=np.float32),
            "back": sparse.csr_matrix(back.T, dtype=np.float32),
            "discount": ((counts + 1) ** -self.power).astype(np.float32),
        }

    def score(self, state: State, histories: Histories, resources: Resources) -> Floats:
        discount = state["discount"]
        scores = np.zeros((len(histories), len(discount)), dtype=np.float32)
        # A few people at a time: how much of each walk is at everyone of the log is in memory at once.
        for i in range(0, len(histories), BLOCK):
            chosen = histories.take(slice(i, i + BLOCK)).matrix(len(discount))
            walked = self._walk(state["away"], state["back"], _rows(chosen).T.toarray())
            scores[i : i + BLOCK] = (walked * discount[:, None]).T
        return scores

    def _walk(self, away: sparse.csr_matrix, back: sparse.csr_matrix, start: Floats) -> Floats:
        """Where the walks are after the last step, without what only began: ``[items, people]``."""
        place, came = start, start
        for _ in range(self.steps):
            came = np.asarray(back @ (away @ place)) * np.float32(1 - self.restart)
            place = came + np.float32(self.restart) * start
        return came

    def _shares(self, ways: list[_Way]) -> Floats:
        """How much of the walk leaves each item each way: ``[ways, items]``; what an item lacks the others take."""
        there = np.stack([np.diff(way.away.indptr) > 0 for way in ways]).astype(np.float32)
        known, others = there[0] > 0, there[1:].sum(0)
        there[0] *= np.where(others > 0, 1 - self.through, 1)
        there[1:] *= np.where(known, self.through, 1) / np.maximum(others, 1)
        return there

    def _words(self, items: pa.Table, name: str) -> _Way:
        """Through the words of a column to the items that have them too."""
        row, words = _pairs(items, name, self.separators)
        known, code = np.unique(np.char.lower(words), return_inverse=True)
        joined = _binary(row, code, (items.num_rows, len(known)))
        return _Way(joined, _rows(joined.T))

    def _links(self, items: pa.Table, name: str) -> _Way:
        """To the items that a column names, and from them; ids outside the catalogue join the items that share them."""
        row, ids = _pairs(items, name, self.separators)
        known, code = np.unique(
            np.concatenate([np.array(items["item_id"].to_pylist(), dtype=str), ids]), return_inverse=True
        )
        place, named = np.full(len(known), -1), code[items.num_rows :]
        place[code[: items.num_rows]] = np.arange(items.num_rows)
        target = place[named]
        inside = (target >= 0) & (target != row)
        one, other = row[inside], target[inside]
        linked = _binary(np.append(one, other), np.append(other, one), (items.num_rows, items.num_rows))
        shared = _binary(row[target < 0], named[target < 0], (items.num_rows, len(known)))
        back = sparse.vstack([sparse.eye_array(items.num_rows), _rows(shared.T)])
        return _Way(sparse.csr_matrix(sparse.hstack([linked, shared])), sparse.csr_matrix(back))


@dataclass(frozen=True)
class _Way:
    """A kind of step from item to item, through hubs: people, words, or the linked items themselves."""

    away: sparse.csr_matrix
    """``[items, hubs]``: 1 where an item has the hub."""
    back: sparse.csr_matrix
    """``[hubs, items]``: shares of a hub's items, adding up to 1."""


def _rows(matrix: Any) -> sparse.csr_matrix:
    """Rows that add up to 1, where they hold anything."""
    rows = sparse.csr_matrix(matrix, dtype=np.float32)
    sums = np.asarray(rows.sum(1)).ravel()
    data = rows.data / np.repeat(sums, np.diff(rows.indptr))
    return sparse.csr_matrix((data, rows.indices, rows.indptr), shape=rows.shape)


def _binary(row: Any, column: Any, shape: tuple[int, int]) -> sparse.csr_matrix:
    matrix = sparse.csr_matrix((np.ones(len(row), dtype=np.float32), (row, column)), shape=shape)
    matrix.sum_duplicates()
    matrix.data[:] = 1
    return matrix


def _lists(items: pa.Table, links: tuple[str, ...]) -> list[str]:
    """The columns of lists of strings that are not links."""
    import pyarrow as pa

    def of_words(kind: pa.DataType) -> bool:
        return pa.types.is_list(kind) and (
            pa.types.is_string(kind.value_type) or pa.types.is_large_string(kind.value_type)
        )

    return [field.name for field in items.schema if field.name not in links and of_words(field.type)]


def _pairs(items: pa.Table, name: str, separators: str) -> tuple[Any, Any]:
    """Row and word of every word of a column, without blanks around it; empty ones are none."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if name not in items.column_names:
        why = f"there is no column '{name}' in the items; {suggest(name, items.column_names)}"
        raise ConfigError([f"label_propagation: {why}"])
    column = items[name].combine_chunks()
    listed = pa.types.is_list(column.type) or pa.types.is_large_list(column.type)
    if pa.types.is_nested(column.type.value_type if listed else column.type):
        raise ConfigError([f"label_propagation: column '{name}' of the items holds {column.type}, not words or lists"])
    if not listed:
        # A class of no characters matches nowhere.
        options = pc.SplitPatternOptions(f"[{re.escape(separators)}]" if separators else r"[^\s\S]")
        column = pc.call_function("split_pattern_regex", [column.cast(pa.string())], options)
    row = pc.call_function("list_parent_indices", [column]).to_numpy(zero_copy_only=False)
    words = pc.call_function("list_flatten", [column]).cast(pa.string())
    words = pc.call_function("utf8_trim_whitespace", [pc.fill_null(words, "")])
    words = np.array(words.to_pylist(), dtype=str)
    return row[words != ""], words[words != ""]
