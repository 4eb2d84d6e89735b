"""A prepared dataset: three tables on disk, and the same as arrays in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from genre.clock import timed, times
from genre.errors import RunError
from genre.files import replacing_folder, seal, unseal
from genre.logcolumns import categorical, codes_of, numbers_of, numeric, rows_of
from genre.mapping import map_array, picked, save_array
from genre.types import Floats, Ints

if TYPE_CHECKING:
    import pyarrow as pa

FORMAT = 1
"""Version of the prepared folder's layout; a folder of another version is refused."""
LOG_FORMAT = 1
"""Version of the layout of the log's arrays in it."""

PARTS = ("train", "valid", "test")
UNUSED = -1
"""Part of a row that is neither trained on nor judged, and only fills histories (the past of a cold user)."""

SKIP = "skip"
"""Action of an item that was shown and passed over: a label for the heads, never part of a history."""

INTERACTION_COLUMNS = ("user_id", "item_id", "action", "value", "timestamp", "impression_id", "position", "propensity")
TABLES = ("interactions", "items", "users", "rejected")
COLUMNS = ("user", "item", "action", "value", "time", "impression", "part")
"""The arrays that every log has."""


@dataclass(frozen=True)
class Dataset:
    """The tables of a prepared dataset (`docs/architecture.md` lists their columns) and their manifest."""

    interactions: pa.Table
    """One row an event, sorted by user, then time, then order in the source; ``part`` names its split."""
    items: pa.Table
    users: pa.Table
    rejected: pa.Table
    """Rows that could not be used: ``file``, ``line``, ``reason``, ``row``."""
    manifest: dict[str, Any]
    """Counts, split protocol, licence, source, content hash."""

    def save(self, folder: Path) -> None:
        """Write the tables as Parquet with a manifest that holds their hashes, all or nothing.

        Beside them lies the log as arrays, to be mapped into memory; the content hash is of the tables alone.
        """
        import pyarrow.parquet as pq

        with replacing_folder(folder) as aside:
            for name in TABLES:
                pq.write_table(getattr(self, name), aside / f"{name}.parquet", compression="zstd")
            self.manifest.update(seal(aside, FORMAT, **self.manifest))
            Log.of(self).save(aside / "log", self.hash)

    @classmethod
    @times("read data", whole=True)
    def load(cls, folder: Path) -> Dataset:
        """Open a prepared folder, whose tables are read when they are first asked for.

        Raises `RunError` where it is missing, of another version, or changed since.
        """
        import pyarrow as pa

        manifest = unseal(folder, FORMAT, "genre prepare")
        # An open file stays what it was, should the folder be replaced before it is read.
        files = {name: pa.memory_map(str(folder / f"{name}.parquet")) for name in TABLES}
        log = Log.mapped(folder / "log", manifest["hash"]) if (folder / "log").exists() else None
        return Opened.of(manifest, files, log)

    @property
    def hash(self) -> str:
        """Content hash: equal for equal tables."""
        return self.manifest["hash"]


class Opened(Dataset):
    """A dataset on disk: a table is read when it is first asked for, and the log is mapped."""

    log: Log | None

    @classmethod
    def of(cls, manifest: dict[str, Any], files: dict[str, pa.MemoryMappedFile], log: Log | None) -> Opened:
        """From open files of tables, and the log where it lies beside them."""
        made = object.__new__(cls)
        made.__dict__.update(manifest=manifest, files=files, log=log)
        return made

    def __getattr__(self, name: str) -> pa.Table:
        """A table that was not asked for before."""
        import pyarrow.parquet as pq

        if name not in self.__dict__.get("files", {}):
            raise AttributeError(name)
        with timed("read data", whole=True):
            self.__dict__[name] = pq.read_table(self.__dict__["files"][name])
        return self.__dict__[name]


@dataclass(frozen=True)
class Words:
    """A column of words, each row's as a number."""

    code: Ints
    """Index into ``words``; -1 where missing."""
    words: tuple[str, ...]
    """The distinct ones, sorted."""


@dataclass(frozen=True)
class Log:
    """Interactions as arrays of one length, sorted by user, then time, then order in the source."""

    user: Ints
    """Row of the users table."""
    item: Ints
    """Row of the items table."""
    action: Ints
    """Index into ``actions``."""
    value: Floats
    """Amount of the action (stars, seconds, plays); NaN where there is none."""
    time: NDArray[np.float64]
    """UTC seconds; NaN where unknown."""
    impression: Ints
    """Number of the impression that the row belongs to; -1 for none."""
    part: NDArray[np.int8]
    """Index into `PARTS`, or `UNUSED`."""
    n_users: int
    n_items: int
    actions: tuple[str, ...]
    columns: dict[str, Floats] = field(default_factory=dict)
    """Further numeric columns of the interactions, by name; NaN where missing."""
    words: dict[str, Words] = field(default_factory=dict)
    """Further columns of words, by name; those of too many distinct ones are text and left out."""

    @classmethod
    @times("read data", whole=True)
    def of(cls, data: Dataset) -> Log:
        """The interactions of ``data`` as arrays, mapped where they lie beside it."""
        if (stored := getattr(data, "log", None)) is not None:
            return stored
        table = data.interactions
        action, actions = codes_of(table["action"])
        impression, _ = codes_of(table["impression_id"])
        known = {*INTERACTION_COLUMNS, "part"}
        further = {name: table[name] for name in table.column_names if name not in known}
        part, parts = codes_of(table["part"])
        order = np.array([PARTS.index(name) for name in parts] + [UNUSED], dtype=np.int8)
        return cls(
            user=rows_of(table["user_id"], data.users["user_id"]),
            item=rows_of(table["item_id"], data.items["item_id"]),
            action=action,
            value=numbers_of(table["value"]),
            time=table["timestamp"].to_numpy(zero_copy_only=False).astype(np.float64),
            impression=impression,
            part=order[part],
            n_users=data.users.num_rows,
            n_items=data.items.num_rows,
            actions=actions,
            columns={name: numbers_of(column) for name, column in further.items() if numeric(column)},
            words={name: Words(*codes_of(column)) for name, column in further.items() if categorical(column)},
        )

    def save(self, folder: Path, data_hash: str) -> None:
        """Write the arrays into a new folder, with a manifest that holds their hashes and that of the dataset."""
        folder.mkdir()
        for name in COLUMNS:
            save_array(folder / f"{name}.npy", getattr(self, name))
        for number, column in enumerate(self.columns.values()):
            save_array(folder / f"column-{number}.npy", column)
        for number, column in enumerate(self.words.values()):
            save_array(folder / f"words-{number}.npy", column.code)
        facts = {"n_users": self.n_users, "n_items": self.n_items, "actions": self.actions}
        words = {name: column.words for name, column in self.words.items()}
        seal(folder, LOG_FORMAT, data=data_hash, facts=facts, columns=list(self.columns), words=words)

    @classmethod
    def mapped(cls, folder: Path, data_hash: str) -> Log:
        """What `save` wrote, mapped into memory. Raises `RunError` where it is damaged or of another dataset."""
        manifest = unseal(folder, LOG_FORMAT, "genre prepare")
        if manifest["data"] != data_hash:
            raise RunError(f"{folder}: is of other interactions than those beside it; run 'genre prepare' again")
        facts = manifest["facts"] | {"actions": tuple(manifest["facts"]["actions"])}
        arrays = {name: map_array(folder / f"{name}.npy") for name in COLUMNS}
        named = enumerate(manifest["columns"])
        columns = {name: map_array(folder / f"column-{number}.npy") for number, name in named}
        spoken = enumerate(manifest["words"].items())
        words = {name: Words(map_array(folder / f"words-{n}.npy"), tuple(said)) for n, (name, said) in spoken}
        return cls(**arrays, **facts, columns=columns, words=words)

    def __len__(self) -> int:
        return len(self.user)

    def where(self, mask: NDArray[np.bool_]) -> Log:
        """The rows where ``mask`` is true."""
        arrays = {name: picked(getattr(self, name), mask) for name in COLUMNS}
        columns = {name: picked(column, mask) for name, column in self.columns.items()}
        words = {name: replace(column, code=picked(column.code, mask)) for name, column in self.words.items()}
        return replace(self, **arrays, columns=columns, words=words)

    def parts(self, *names: str) -> Log:
        """The rows of the named parts of the split."""
        return self.where(np.isin(self.part, [PARTS.index(name) for name in names]))

    def before(self, part: str) -> Log:
        """The rows that a history may hold when ``part`` is judged: earlier parts, and rows kept for histories alone.

        The latter (`UNUSED`) count where they come before everything that their user is judged by.
        """
        judged, place = PARTS.index(part), np.arange(len(self))
        asked = self.part == judged
        first = np.full(self.n_users, len(self))
        np.minimum.at(first, self.user[asked], place[asked])
        known = (self.part == UNUSED) & (place < first[self.user])
        return self.where(known | ((self.part >= 0) & (self.part < judged)))

    @property
    def positive(self) -> NDArray[np.bool_]:
        """Rows that enter histories and are next-item targets: all but `SKIP`."""
        return self.action != self.actions.index(SKIP) if SKIP in self.actions else np.ones(len(self), dtype=bool)

    def events_before(self) -> NDArray[np.int64]:
        """How many of the user's events came before each row; what was shown together sees none of its own clicks."""
        positive = self.positive
        total = np.bincount(self.user[positive], minlength=self.n_users)
        before = np.cumsum(positive) - positive - (np.cumsum(total) - total)[self.user]
        shown = np.flatnonzero(self.impression >= 0)
        if len(shown):
            keys = np.stack([self.user[shown], self.impression[shown]], 1)
            _, group = np.unique(keys, axis=0, return_inverse=True)
            earliest = np.full(int(group.max()) + 1, np.iinfo(np.int64).max)
            np.minimum.at(earliest, group, before[shown])
            before[shown] = earliest[group]
        return before

    def events_left(self) -> NDArray[np.int64]:
        """How many of the user's events are left at each row, itself included: 1 for the last.

        A skip counts like the event it was passed over for: the latest chosen of its impression, else the user's next
        event, else their last.
        """
        positive = self.positive
        total = np.bincount(self.user[positive], minlength=self.n_users)
        done = np.cumsum(positive) - (np.cumsum(total) - total)[self.user]
        left = np.maximum(total[self.user] - done + positive, np.minimum(total[self.user], 1))
        shown = np.flatnonzero(self.impression >= 0)
        if len(shown):
            keys = np.stack([self.user[shown], self.impression[shown]], 1)
            _, group = np.unique(keys, axis=0, return_inverse=True)
            latest = np.full(int(group.max()) + 1, np.iinfo(np.int64).max)
            np.minimum.at(latest, group[positive[shown]], left[shown[positive[shown]]])
            passed = ~positive[shown] & (latest[group] < np.iinfo(np.int64).max)
            left[shown[passed]] = latest[group[passed]]
        return left

    def matrix(self) -> sparse.csr_matrix:
        """Who has interacted with what, skips aside: ``[users, items]`` of 0 and 1."""
        rows = self.where(self.positive)
        ones = np.ones(len(rows), dtype=np.float32)
        matrix = sparse.csr_matrix((ones, (rows.user, rows.item)), shape=(self.n_users, self.n_items))
        matrix.sum_duplicates()
        matrix.data[:] = 1.0
        return matrix


@dataclass(frozen=True)
class Histories:
    """What ``b`` people did so far, oldest first: ragged arrays, person ``i`` owning ``offsets[i]:offsets[i + 1]``."""

    offsets: NDArray[np.int64]
    """``[b + 1]``."""
    item: Ints
    value: Floats
    """NaN where the event had none."""
    action: Ints
    """Index into the log's actions; -1 where not known."""
    texts: tuple[str | None, ...]
    """``[b]``: what a person says they like, or None."""
    user: Ints | None = None
    """``[b]``: row of the users table, -1 for people whom the data do not hold; None where that holds for all."""
    time: NDArray[np.float64] | None = None
    """UTC seconds of each event, NaN where unknown; None where that holds for all."""

    @classmethod
    def of(cls, log: Log, users: Ints | None = None) -> Histories:
        """Histories of ``users`` (all users if None) from the rows of ``log``, skips left out."""
        rows = log.where(log.positive)
        counts = np.bincount(rows.user, minlength=log.n_users)
        everyone = np.arange(log.n_users, dtype=np.int32)
        nothing_said = (None,) * log.n_users
        whole = cls(_offsets(counts), rows.item, rows.value, rows.action, nothing_said, everyone, rows.time)
        return whole if users is None else whole.take(users)

    @classmethod
    def at(cls, log: Log, rows: NDArray[np.int64]) -> Histories:
        """The history of each row's user as it was just before that row."""
        events = np.flatnonzero(log.positive)
        counts = np.bincount(log.user[events], minlength=log.n_users)
        first, lengths = (np.cumsum(counts) - counts)[log.user[rows]], log.events_before()[rows]
        offsets = _offsets(lengths)
        at = events[np.repeat(first - offsets[:-1], lengths) + np.arange(offsets[-1])]
        asked, nothing_said = log.user[rows], (None,) * len(rows)
        item, value, action, time = (picked(array, at) for array in (log.item, log.value, log.action, log.time))
        return cls(offsets, item, value, action, nothing_said, asked, time)

    @classmethod
    def of_items(cls, lists: Sequence[Sequence[int]], texts: Sequence[str | None] | None = None) -> Histories:
        """Histories from lists of item rows, for people who are not in the data."""
        item = np.array([i for one in lists for i in one], dtype=np.int32)
        nothing = np.full(len(item), np.nan, dtype=np.float32)
        offsets = _offsets(np.array([len(one) for one in lists], dtype=np.int64))
        return cls(offsets, item, nothing, np.full(len(item), -1, dtype=np.int32), tuple(texts or [None] * len(lists)))

    @classmethod
    def joined(cls, parts: Sequence[Histories]) -> Histories:
        """The people of several histories, in that order."""
        item, value, action, user, time = (
            np.concatenate([getattr(part, name) for part in parts])
            for name in ("item", "value", "action", "users", "times")
        )
        offsets = _offsets(np.concatenate([part.lengths for part in parts]))
        return cls(offsets, item, value, action, tuple(text for part in parts for text in part.texts), user, time)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def users(self) -> Ints:
        """``[b]``: row of the users table, -1 for people whom the data do not hold."""
        return np.full(len(self), -1, dtype=np.int32) if self.user is None else self.user

    @property
    def times(self) -> NDArray[np.float64]:
        """UTC seconds of each event, NaN where unknown."""
        return np.full(len(self.item), np.nan) if self.time is None else self.time

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Number of events a person: ``[b]``."""
        return np.diff(self.offsets)

    @property
    def owner(self) -> NDArray[np.int64]:
        """Which person each event belongs to."""
        return np.repeat(np.arange(len(self)), self.lengths)

    @property
    def age(self) -> NDArray[np.int64]:
        """How many events came after each: 0 for a person's latest."""
        return np.repeat(self.offsets[1:], self.lengths) - 1 - np.arange(len(self.item))

    def take(self, people: NDArray[Any] | slice) -> Histories:
        """The histories of some people, in the order asked for."""
        rows = np.arange(len(self))[people]
        lengths = self.lengths[rows]
        offsets = _offsets(lengths)
        at = np.repeat(self.offsets[rows] - offsets[:-1], lengths) + np.arange(offsets[-1])
        return self._picked(offsets, at, rows)

    def latest(self, n: int) -> Histories:
        """Only each person's ``n`` latest events."""
        keep = np.flatnonzero(self.age < n)
        return self._picked(_offsets(np.minimum(self.lengths, n)), keep, np.arange(len(self)))

    def _picked(self, offsets: NDArray[np.int64], at: NDArray[np.int64], rows: NDArray[np.int64]) -> Histories:
        """Some events of some people."""
        return Histories(
            offsets,
            picked(self.item, at),
            picked(self.value, at),
            picked(self.action, at),
            tuple(self.texts[i] for i in rows),
            None if self.user is None else self.user[rows],
            None if self.time is None else picked(self.time, at),
        )

    def matrix(self, n_items: int) -> sparse.csr_matrix:
        """Who has seen what: ``[b, n_items]`` of 0 and 1."""
        ones = np.ones(len(self.item), dtype=np.float32)
        matrix = sparse.csr_matrix((ones, (self.owner, self.item)), shape=(len(self), n_items))
        matrix.sum_duplicates()
        matrix.data[:] = 1.0
        return matrix


def _offsets(counts: NDArray[Any]) -> NDArray[np.int64]:
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
