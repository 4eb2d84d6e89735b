"""CiteULike: who keeps which papers, with tags and citations."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genre.component import component
from genre.datasets import Reading
from genre.places import member, members
from genre.rows import Rejected, delimited, need, opened
from genre.tagging import by_use, readable

FOLDER = "citeulike-a"
SOURCE = "https://github.com/js05212/citeulike-a"
LICENCE = "published for research, to be acknowledged; no licence: not to be passed on"
FILES = ("users.dat", "item-tag.dat", "tags.dat", "citations.dat")
TEXTS = "raw-data.csv"


@component
class CiteULike:
    """CiteULike-a: 5,551 people and the papers in their libraries; each is a ``save``. There are no times: use the
    splits `random` or `cold_items`.

    Items get ``tag_list`` (what people tagged the paper, most widely used tags first), ``tags`` (the same as text) and
    ``cites`` (ids of the papers it cites), and from ``raw-data.csv`` in the folder ``title`` and ``abstract``, which
    are empty without that file. A paper's id is its line in ``item-tag.dat``, from 0. Wang, Chen and Li (2013),
    Collaborative Topic Regression with Social Regularization for Tag Recommendation;
    https://github.com/js05212/citeulike-a.
    """

    path: Path | None = None
    """The folder with ``users.dat``, ``item-tag.dat``, ``tags.dat`` and ``citations.dat``, plain or gzipped; by
    default ``citeulike-a``. One that is not in the working directory is looked for where ``genre data get`` puts data
    sets, then below ``GENRE_DATA``, else below ``../shared/data``."""

    def files(self) -> list[Path]:
        files = self._files()
        texts = member(files["users.dat"].parent, TEXTS)
        return [*files.values(), *([texts] if texts else [])]

    def _files(self) -> dict[str, Path]:
        return members(self.path, FOLDER, FILES, SOURCE)

    def read(self) -> Reading:
        import pyarrow as pa

        files = self._files()
        rejected: Rejected = []
        libraries = _Lists.read(files["users.dat"], rejected)
        names = _lines(files["tags.dat"])
        tagged = _Lists.read(files["item-tag.dat"], rejected)
        citing = _Lists.read(files["citations.dat"], rejected)
        n, strings = tagged.lines, pa.list_(pa.string())
        tags = tagged.within(len(names), "the tag is not in tags.dat", rejected)
        cites = citing.within(n, "the paper is not in item-tag.dat", rejected)
        given = by_use((str(paper) for paper, _ in tags), (names[tag] for _, tag in tags))
        ids = [str(paper) for paper in range(n)]
        lists = [given.get(paper, []) for paper in ids]
        cited: list[list[str]] = [[] for _ in ids]
        for paper, other in cites:
            if paper < n:
                cited[paper].append(str(other))
        columns: dict[str, Any] = {"item_id": ids, "tag_list": pa.array(lists, strings)}
        columns |= {"tags": [readable(one) for one in lists], "cites": pa.array(cited, strings)}
        columns |= _texts(member(files["users.dat"].parent, TEXTS), n, rejected)
        log = {"user_id": [str(user) for user in libraries.owner], "item_id": libraries.member}
        log |= {"file": [str(libraries.path)] * len(libraries.owner), "line": [user + 1 for user in libraries.owner]}
        interactions = pa.table({**log, "action": ["save"] * len(libraries.owner)})
        return Reading(interactions, pa.table(columns), None, rejected, "citeulike-a", SOURCE, LICENCE)


@dataclass(frozen=True)
class _Lists:
    """A file with a line an owner: how many follow, and those, numbers from 0. Both are flat, of equal length."""

    path: Path
    lines: int
    owner: list[int]
    """The line of each, from 0."""
    member: list[str]

    @classmethod
    def read(cls, path: Path, rejected: Rejected) -> _Lists:
        """Lines whose count is not that of what follows, or that hold another thing than numbers, are rejected."""
        owner: list[int] = []
        member: list[str] = []
        number = -1
        for number, line in enumerate(_lines(path)):
            count, *found = line.split() or [""]
            if not all(word.isascii() and word.isdigit() for word in (count, *found)):
                why = "holds something that is no number"
            elif int(count) != len(found):
                why = f"begins with another number than how many follow ({count}, {len(found)})"
            else:
                owner += [number] * len(found)
                member += found
                continue
            rejected.append({"file": str(path), "line": number + 1, "reason": why, "row": line})
        return cls(path, number + 1, owner, member)

    def within(self, limit: int, reason: str, rejected: Rejected) -> list[tuple[int, int]]:
        """The pairs whose member is below ``limit``; the others go to ``rejected``."""
        kept: list[tuple[int, int]] = []
        for owner, word in zip(self.owner, self.member, strict=True):
            if int(word) < limit:
                kept.append((owner, int(word)))
            else:
                place = {"file": str(self.path), "line": owner + 1}
                rejected.append({**place, "reason": f"{reason} ({word})", "row": word})
        return kept


def _lines(path: Path) -> list[str]:
    with opened(path, "utf-8") as file:
        return [line.rstrip("\r\n") for line in file]


def _texts(path: Path | None, n: int, rejected: Rejected) -> dict[str, list[str]]:
    """Titles and abstracts, which count papers from 1; empty ones where the file is not there."""
    found = {"title": [""] * n, "abstract": [""] * n}
    if path is None:
        return found
    columns = delimited(path, ",", None, rejected, "latin-1")
    wanted = ["doc.id", "raw.title", "raw.abstract"]
    need(columns, wanted, path, f"fetch it again from {SOURCE}")
    for word, title, abstract, line in zip(*(columns[name] for name in [*wanted, "line"]), strict=True):
        if word.isdecimal() and 1 <= int(word) <= n:
            found["title"][int(word) - 1], found["abstract"][int(word) - 1] = title.strip(), abstract.strip()
        else:
            reason = f"doc.id is not a paper from 1 to {n} ({word!r})"
            rejected.append({"file": str(path), "line": line, "reason": reason, "row": f"{word},{title}"})
    return found
