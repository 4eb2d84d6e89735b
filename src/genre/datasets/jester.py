"""Jester: how funny people found jokes."""

from __future__ import annotations

from pathlib import Path

from genre.component import component
from genre.datasets import Reading
from genre.places import members
from genre.rows import Rejected, arrow, delimited, need

FOLDER = "jester-5k"
SOURCE = "https://github.com/mhahsler/recommenderlab (data/Jester5k.rda)"
LICENCE = "Jester: free for research if cited (Goldberg et al. 2001); not to be passed on; some jokes are offensive"


@component
class Jester:
    """The Jester ratings of 5,000 people: every ``rate`` is from -10 to 10, and items have their ``text``.

    Three fourths of all pairs are rated, so that what any policy would have earned is known: see the environment
    ``ratings``. There are no times: use the split `random`. Goldberg et al. (2001),
    https://doi.org/10.1023/A:1011419012209.
    """

    path: Path | None = None
    """The folder with ``ratings.csv`` and ``jokes.tsv``, plain or gzipped; by default ``jester-5k``. One that is not in
    the working directory is looked for where ``genre data get`` puts data sets, then below ``GENRE_DATA``, else below
    ``../shared/data``."""

    def files(self) -> list[Path]:
        return list(members(self.path, FOLDER, ("ratings.csv", "jokes.tsv"), SOURCE).values())

    def read(self) -> Reading:
        ratings, jokes = self.files()
        rejected: Rejected = []
        log = delimited(ratings, ",", None, rejected)
        need(log, ["user", "joke", "rating"], ratings, f"fetch it again from {SOURCE}")
        texts = delimited(jokes, "\t", None, rejected)
        need(texts, ["joke", "text"], jokes, f"fetch it again from {SOURCE}")
        where = {name: log[name] for name in ("file", "line")}
        rows = {"user_id": log["user"], "item_id": log["joke"], "value": log["rating"], **where}
        rows["action"] = ["rate"] * len(log["line"])
        items = {"item_id": texts["joke"], "text": texts["text"], "file": texts["file"], "line": texts["line"]}
        return Reading(arrow(rows), arrow(items), None, rejected, FOLDER, SOURCE, LICENCE)
