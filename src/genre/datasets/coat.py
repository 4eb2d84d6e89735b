"""Coat: ratings of coats that people chose to rate, and of coats drawn for them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from genre.component import component
from genre.datasets import Reading
from genre.errors import DataError
from genre.places import members
from genre.rows import arrow, opened

FOLDER = "coat-shopping"
SOURCE = "https://www.cs.cornell.edu/~schnabts/mnar/"
LICENCE = "Coat (Schnabel et al. 2016): offered for research, without a licence; not to be passed on"
MATRICES = ("train.ascii", "test.ascii", "propensities.ascii")
ATTRIBUTES = ("user_features.ascii", "user_features_map.txt", "item_features.ascii", "item_features_map.txt")


@component
class Coat:
    """290 people, 300 coats: 24 ratings a person of coats that they picked, and 16 of coats drawn for them evenly.

    Every ``rate`` is from 1 to 5. What was picked is the part ``train``, what was drawn is the part ``test`` of the
    split `given`: measured on it a recommender cannot gain by guessing what people pick. ``propensity`` is the data
    set's estimate that a person rates a coat, and for drawn ones 16 / 300. Items get ``title`` (``black parka for
    women``), ``gender``, ``kind``, ``colour``; users ``gender``, ``age``, ``location``, ``fashion_interest``.
    Schnabel et al. (2016), https://arxiv.org/abs/1602.05352.
    """

    path: Path | None = None
    """The folder with ``train.ascii``, ``test.ascii``, ``propensities.ascii`` and the features, plain or gzipped; by
    default ``coat-shopping``. One that is not in the working directory is looked for where ``genre data get`` puts data
    sets, then below ``GENRE_DATA``, else below ``../shared/data``."""

    def files(self) -> list[Path]:
        return list(self._files().values())

    def _files(self) -> dict[str, Path]:
        return members(self.path, FOLDER, (*MATRICES, *ATTRIBUTES), SOURCE)

    def read(self) -> Reading:
        files = self._files()
        train, test, picked = (_matrix(files[name]) for name in MATRICES)
        if not train.shape == test.shape == picked.shape:
            shapes = ", ".join(f"{name} {one.shape}" for name, one in zip(MATRICES, (train, test, picked), strict=True))
            raise DataError(f"{files[MATRICES[0]]}: the matrices are of different shapes ({shapes}); fetch them again")
        drawn = np.full(test.shape, 16 / test.shape[1])
        parts = [_rows(train, picked, "train", files[MATRICES[0]]), _rows(test, drawn, "test", files[MATRICES[1]])]
        log = {name: parts[0][name] + parts[1][name] for name in parts[0]}
        people = _described(files[ATTRIBUTES[0]], files[ATTRIBUTES[1]], train.shape[0])
        coats = _described(files[ATTRIBUTES[2]], files[ATTRIBUTES[3]], train.shape[1])
        users = {
            "user_id": list(map(str, range(train.shape[0]))),
            **{name: people[name] for name in ("gender", "age", "location")},
            "fashion_interest": people["fashioninterest"],
        }
        kinds = [{"other": "coat"}.get(kind, kind) for kind in coats["jackettype"]]
        words = zip(coats["color"], kinds, coats["gender"], strict=True)
        items = {
            "item_id": list(map(str, range(train.shape[1]))),
            "title": [f"{colour} {kind} for {gender}".removeprefix("other ") for colour, kind, gender in words],
            "gender": coats["gender"],
            "kind": coats["jackettype"],
            "colour": coats["color"],
            "categories": [[kind] for kind in coats["jackettype"]],
        }
        return Reading(arrow(log), arrow(items), arrow(users), [], FOLDER, SOURCE, LICENCE)


def _matrix(path: Path) -> Any:
    """Numbers with spaces between them, a line a person or item. Raises `DataError` with the line of what is none."""
    rows: list[list[float]] = []
    with opened(path, "utf-8") as file:
        for number, line in enumerate(file, 1):
            try:
                row = [float(word) for word in line.split()]
            except ValueError as error:
                raise DataError(f"{path}:{number}: {error}; fetch the file again from {SOURCE}") from error
            if row and rows and len(row) != len(rows[0]):
                raise DataError(f"{path}:{number}: {len(row)} numbers where the first line has {len(rows[0])}")
            rows += [row] if row else []
    return np.array(rows)


def _rows(ratings: Any, propensity: Any, part: str, path: Path) -> dict[str, list[Any]]:
    person, item = np.nonzero(ratings)
    return {
        "user_id": list(map(str, person.tolist())),
        "item_id": list(map(str, item.tolist())),
        "action": ["rate"] * len(person),
        "value": ratings[person, item].tolist(),
        "propensity": propensity[person, item].tolist(),
        "part": [part] * len(person),
        "file": [str(path)] * len(person),
        "line": (person + 1).tolist(),
    }


def _described(flags: Path, names: Path, count: int) -> dict[str, list[str]]:
    """The word of each attribute whose flag is set, by attribute: ``gender:men``, ``gender:women``."""
    table = _matrix(flags)
    with opened(names, "utf-8") as file:
        pairs = [line.strip().partition(":")[::2] for line in file if line.strip()]
    if table.shape != (count, len(pairs)):
        raise DataError(f"{flags}: {table.shape} flags, and there are {count} rows and {len(pairs)} names in {names}")
    found = {attribute: [""] * count for attribute, _ in pairs}
    for row, column in zip(*np.nonzero(table), strict=True):
        attribute, word = pairs[column]
        found[attribute][row] = word
    return found
