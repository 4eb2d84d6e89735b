"""Lists that a worker made ahead (job `rerank`): what a user gets while the model does not answer."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from genre.errors import GenreError
from genre.files import unseal
from genre.jobs.rerank import FORMAT

LOG = logging.getLogger("genre.serve")
Lists = dict[str, list[tuple[str, float]]]


class Nearline:
    """The lists in ``nearline/`` of a run, read anew when the worker has put others in their place."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "nearline"
        self.made: float | None = None
        """When the lists were made; None where there are none."""
        self._lists: Lists = {}
        self._read: Any = None

    def __len__(self) -> int:
        return len(self._lists)

    def look(self) -> None:
        """Read the lists if they are others by now; damaged ones are told of in the log, and the last ones stay."""
        try:
            found = (self.folder / "manifest.json").stat()
        except OSError:
            return
        stamp = (found.st_ino, found.st_mtime_ns)
        if stamp == self._read:
            return
        self._read = stamp
        try:
            manifest = unseal(self.folder, FORMAT, "a job 'rerank'")
            self._lists, self.made = _lists(self.folder / "lists.parquet"), float(manifest["made"])
        except (GenreError, OSError, ValueError, KeyError) as error:
            LOG.warning("lists made ahead are not used: %s", error)

    def of(self, user_id: str | None) -> list[dict[str, Any]]:
        """A user's list as a reply has it; empty where there is none."""
        found = [] if user_id is None else self._lists.get(user_id, [])
        return [
            {"item_id": item, "score": score, "origin": "ranked", "sources": {"nearline": rank}, "predictions": {}}
            for rank, (item, score) in enumerate(found, 1)
        ]


def _lists(path: Path) -> Lists:
    import pyarrow.parquet as pq

    found = pq.read_table(path, columns=["user_id", "items", "scores"]).to_pydict()
    rows = zip(found["user_id"], found["items"], found["scores"], strict=True)
    return {user: list(zip(items, scores, strict=True)) for user, items, scores in rows}
