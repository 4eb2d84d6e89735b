"""Real titles and what followed what, for rows about texts: Amazon Video Games where it is there, else MovieLens."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np

from genre.backbones.minilm import FOLDER, in_package
from genre.component import Slot
from genre.config import DataSection
from genre.data import Log
from genre.errors import GenreError
from genre.prepare import build
from speedrows.evaluation import GAMES

MAX_TOKENS = 32


def titles() -> tuple[list[str], Log, str]:
    """A title an item, the log of who chose what, and what data they are."""
    for reader, what in ((GAMES, "Amazon Video Games"), ("movielens", "MovieLens 100K")):
        section = DataSection(reader=Slot("datasets").build(reader))
        try:
            data = build(section.reader.read(), section, seed=7)
        except GenreError:
            continue
        return [title or "" for title in data.items["title"].to_pylist()], Log.of(data), what
    raise SystemExit("neither Amazon Video Games nor MovieLens 100K is there; run: genre data get movielens-100k")


def many(texts: list[str], count: int) -> list[str]:
    """So many of them, drawn; from the start again where there are fewer."""
    order = np.random.default_rng(7).permutation(len(texts))
    return [texts[i] for i in itertools.islice(itertools.cycle(order.tolist()), count)]


def pairs(log: Log, count: int) -> np.ndarray:
    """Items of which one was chosen right before the other, drawn: ``[count, 2]``."""
    follows = np.flatnonzero(log.user[1:] == log.user[:-1])
    drawn = np.random.default_rng(7).permutation(follows)[:count]
    return np.stack([log.item[drawn], log.item[drawn + 1]], 1)


def language_model() -> str:
    """The folder of MiniLM's weights, which other libraries read too."""
    folder = in_package(*FOLDER)
    assert folder is not None
    return str(folder)


def written(folder: Path, task: dict[str, Any]) -> str:
    """The file of a task for a program of a side environment."""
    path = folder / "task.json"
    path.write_text(json.dumps(task), encoding="utf-8")
    return str(path)
