"""Last.FM: who played which artist how often, with tags and friends."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from genre.component import component
from genre.datasets import Reading
from genre.errors import DataError
from genre.places import member, members
from genre.rows import Rejected, delimited, need, numbers, opened
from genre.tagging import by_use, readable

if TYPE_CHECKING:
    import pyarrow as pa

FOLDER = "lastfm-hetrec-2k"
SOURCE = "https://grouplens.org/datasets/hetrec-2011/"
COLAKG = "https://github.com/ziqiangcui/CoLaKG (data/lastfm)"
LICENCE = "HetRec 2011 Last.FM: non-commercial use, to be acknowledged, not to be passed on"
TABLES = {
    "artists.dat": ("id", "name"),
    "user_artists.dat": ("userID", "artistID", "weight"),
    "user_taggedartists.dat": ("userID", "artistID", "tagID"),
    "tags.dat": ("tagID", "tagValue"),
    "user_friends.dat": ("userID", "friendID"),
}
GIVEN = ("train.txt", "test.txt", "user_map.txt", "item_map.txt")
TEXTS = "llm_response_item.json"
Columns = dict[str, list[Any]]


@component
class LastFM:
    """Last.FM of HetRec 2011 (Cantador et al., https://doi.org/10.1145/2043932.2044016): each artist that a person
    played is a ``listen``. There are no times: use the splits `random` or `given`.

    ``value`` is the number of plays. Items get ``title`` (the artist), ``tag_list`` (what people tagged it, most used
    first) and ``tags`` (the same as text); users get ``friends``, a list of user ids.
    """

    path: Path | None = None
    """The folder with ``artists.dat``, ``user_artists.dat``, ``user_taggedartists.dat``, ``tags.dat`` and
    ``user_friends.dat``, plain or gzipped; by default ``lastfm-hetrec-2k``. One that is not in the working directory is
    looked for where ``genre data get`` puts data sets, then below ``GENRE_DATA``, else below ``../shared/data``."""
    rows: Literal["all", "colakg"] = "all"
    """Whether to read everything, or what CoLaKG trains and tests on (Cui et al. 2025,
    https://doi.org/10.1145/3726302.3729932: 1,859 people, 2,813 artists) with its parts, for the split `given`. That
    takes its ``train.txt``, ``test.txt``, ``user_map.txt``, ``item_map.txt`` in the folder, also if named ``colakg_``
    in front; with its ``llm_response_item.json`` items get ``description``, which a language model wrote."""
    log: bool = False
    """Whether ``value`` is the natural logarithm of the plays plus one, so that tireless listeners do not drown the
    rest as a label and in histories. The plays themselves are always the column ``plays``."""

    def files(self) -> list[Path]:
        files = self._files()
        return list(files.values()) + (list(self._given(files).values()) if self.rows == "colakg" else [])

    def read(self) -> Reading:
        files = self._files()
        rejected: Rejected = []
        tables = {name: _table(path, TABLES[name], rejected) for name, path in files.items()}
        artists = tables["artists.dat"]
        plays = _counted(tables["user_artists.dat"], rejected)
        given = _Given.read(self._given(files), rejected) if self.rows == "colakg" else None
        log = given.log(plays, rejected) if given else plays
        kept = set(given.items.values()) if given else set(artists["id"])
        people = set(given.users.values()) if given else set(plays["userID"])
        items = _items(artists, kept, _tags(tables, rejected), given.texts if given else None)
        users = _users(tables["user_friends.dat"], people, set(plays["userID"]), rejected)
        name = "lastfm-hetrec-2k" + ("-colakg" if given else "")
        return Reading(self._log(log), items, users, rejected, name, SOURCE, LICENCE)

    def _files(self) -> dict[str, Path]:
        return members(self.path, FOLDER, TABLES, SOURCE)

    def _given(self, files: dict[str, Path]) -> dict[str, Path]:
        """CoLaKG's files, beside the others."""
        folder = files["artists.dat"].parent
        found = {name: member(folder, f"colakg_{name}") or member(folder, name) for name in (*GIVEN, TEXTS)}
        missing = [name for name in GIVEN if found[name] is None]
        if missing:
            raise DataError(
                f"rows 'colakg' needs {', '.join(missing)} in {folder}; fetch it from {COLAKG}, or set rows: all"
            )
        return {name: path for name, path in found.items() if path}

    def _log(self, rows: Columns) -> pa.Table:
        import pyarrow as pa

        plays = np.array(rows["weight"], dtype=np.float64)
        value = np.log1p(plays) if self.log else plays
        columns = {"user_id": rows["userID"], "item_id": rows["artistID"], "action": ["listen"] * len(plays)}
        further = {name: rows[name] for name in ("part", "file", "line") if name in rows}
        return pa.table(columns | {"value": value, "plays": plays} | further)


def _counted(rows: Columns, rejected: Rejected) -> Columns:
    """The rows with their plays as numbers; those of no number, or below 0, go to ``rejected``."""
    import pyarrow as pa

    amounts, bad = numbers(pa.chunked_array([pa.array(rows["weight"], pa.string())]))
    good = ~bad & (amounts >= 0)
    for i in np.flatnonzero(~good):
        _reject(rejected, rows, int(i), f"weight is not a number of plays ({rows['weight'][i]!r})")
    kept = np.flatnonzero(good).tolist()
    return {name: [column[i] for i in kept] for name, column in rows.items()} | {"weight": amounts[good].tolist()}


def _table(path: Path, wanted: tuple[str, ...], rejected: Rejected) -> Columns:
    """A table with a header line; the tags alone are in Latin-1."""
    columns = delimited(path, "\t", None, rejected, "latin-1" if path.name.startswith("tags.dat") else "utf-8")
    need(columns, wanted, path, f"fetch the file again from {SOURCE}")
    return columns


def _tags(tables: dict[str, Columns], rejected: Rejected) -> dict[str, list[str]]:
    """The tags of each artist; what is said of an artist or with a tag that has no row goes to ``rejected``."""
    names = dict(zip(tables["tags.dat"]["tagID"], tables["tags.dat"]["tagValue"], strict=True))
    artists = set(tables["artists.dat"]["id"])
    rows = tables["user_taggedartists.dat"]
    given: list[tuple[str, str]] = []
    for artist, tag, i in zip(rows["artistID"], rows["tagID"], range(len(rows["line"])), strict=True):
        if artist in artists and tag in names:
            given.append((artist, names[tag].strip()))
        else:
            what = f"the tag is not in tags.dat ({tag})" if artist in artists else _unknown(artist)
            _reject(rejected, rows, i, what)
    return by_use((artist for artist, _ in given), (tag for _, tag in given))


def _unknown(artist: str) -> str:
    return f"the artist is not in artists.dat ({artist})"


def _reject(rejected: Rejected, rows: Columns, i: int, reason: str) -> None:
    row = "\t".join(str(column[i]) for name, column in rows.items() if name not in ("file", "line"))
    rejected.append({"file": rows["file"][i], "line": rows["line"][i], "reason": reason, "row": row})


def _items(artists: Columns, kept: set[str], tags: dict[str, list[str]], texts: dict[str, str] | None) -> pa.Table:
    import pyarrow as pa

    chosen = [i for i, artist in enumerate(artists["id"]) if artist in kept]
    ids = [artists["id"][i] for i in chosen]
    columns: Columns = {"item_id": ids, "title": [artists["name"][i] for i in chosen]}
    columns |= {name: [artists[name][i] for i in chosen] for name in ("file", "line")}
    lists = pa.array([tags.get(one, []) for one in ids], pa.list_(pa.string()))
    columns |= {"tag_list": lists, "tags": [readable(tags.get(one, [])) for one in ids]}
    return pa.table(columns | ({"description": [texts.get(one, "") for one in ids]} if texts else {}))


def _users(friends: Columns, people: set[str], known: set[str], rejected: Rejected) -> pa.Table:
    """A row a person, with those of their friends who are in the log as well."""
    import pyarrow as pa

    found: dict[str, list[str]] = {user: [] for user in sorted(people, key=lambda user: (len(user), user))}
    for i, (user, friend) in enumerate(zip(friends["userID"], friends["friendID"], strict=True)):
        if user not in known or friend not in known:
            who = user if user not in known else friend
            _reject(rejected, friends, i, f"the person played nothing ({who})")
        elif user in found and friend in found:
            found[user].append(friend)
    return pa.table({"user_id": list(found), "friends": pa.array(list(found.values()), pa.list_(pa.string()))})


@dataclass(frozen=True)
class _Given:
    """CoLaKG's pairs: people and artists by numbers of its own, which two maps translate."""

    pairs: Columns
    users: dict[str, str]
    """Our id, by its number."""
    items: dict[str, str]
    texts: dict[str, str] | None

    @classmethod
    def read(cls, files: dict[str, Path], rejected: Rejected) -> _Given:
        maps: list[dict[str, str]] = []
        for name in ("user_map.txt", "item_map.txt"):
            rows = delimited(files[name], " ", ["ours", "theirs"], rejected)
            maps.append(dict(zip(rows["theirs"], rows["ours"], strict=True)))
        users, items = maps
        pairs: Columns = {name: [] for name in ("user", "item", "part", "file", "line")}
        for part in ("train", "test"):
            path = files[f"{part}.txt"]
            with opened(path, "utf-8") as file:
                for line, text in enumerate(file, 1):
                    user, *chosen = text.split() or [""]
                    pairs["user"] += [user] * len(chosen)
                    pairs["item"] += chosen
                    for name, value in (("part", part), ("file", str(path)), ("line", line)):
                        pairs[name] += [value] * len(chosen)
        return cls(pairs, users, items, _texts(files.get(TEXTS), items))

    def log(self, plays: Columns, rejected: Rejected) -> Columns:
        """The pairs with their plays; one that no map or no play knows goes to ``rejected``."""
        counted = dict(zip(zip(plays["userID"], plays["artistID"], strict=True), plays["weight"], strict=True))
        made: Columns = {name: [] for name in ("userID", "artistID", "weight", "part", "file", "line")}
        for i, (user, item) in enumerate(zip(self.pairs["user"], self.pairs["item"], strict=True)):
            pair = self.users.get(user, ""), self.items.get(item, "")
            if pair in counted:
                values = (*pair, counted[pair], *(self.pairs[name][i] for name in ("part", "file", "line")))
                for name, value in zip(made, values, strict=True):
                    made[name].append(value)
            elif not all(pair):
                _reject(rejected, self.pairs, i, "the maps do not know this person or artist")
            else:
                _reject(rejected, self.pairs, i, "the pair is not in user_artists.dat")
        return made


def _texts(path: Path | None, items: dict[str, str]) -> dict[str, str] | None:
    """What a language model wrote of an artist, by the artist's id."""
    if path is None:
        return None
    with opened(path, "utf-8") as file:
        try:
            found = json.load(file)
        except ValueError as error:
            raise DataError(f"{path}: not JSON ({error}); fetch it again from {COLAKG}") from error
    return {items[number]: str(text).strip() for number, text in found.items() if number in items}
