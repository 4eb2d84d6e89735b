"""Readers of the sets that policies are tried on: Jester, Coat, Open Bandit; in the files as they are published."""

from __future__ import annotations

import gzip
import os
from pathlib import Path
from typing import Any

import pytest

from genre.config import DataSection
from genre.data import Dataset, Log
from genre.datasets.coat import Coat
from genre.datasets.jester import Jester
from genre.datasets.open_bandit import OpenBandit
from genre.errors import DataError
from genre.prepare import build

DATA = Path(os.environ.get("GENRE_DATA") or "../shared/data")


def prepared(reader: Any, split: Any) -> Dataset:
    section = DataSection(reader=reader, split=split, max_rejected=1.0)
    return build(section.reader.read(), section, 7)


def test_jester(tmp_path: Path):
    lines = [f"{person},{joke},{person - joke}.5" for person in range(30) for joke in range(4)]
    with gzip.open(tmp_path / "ratings.csv.gz", "wt") as file:
        file.write("\n".join(["user,joke,rating", *lines, "0,1"]) + "\n")
    (tmp_path / "jokes.tsv").write_text("joke\ttext\n" + "".join(f"{i}\tA joke, {i}.\n" for i in range(4)))
    data = prepared(Jester(path=tmp_path), {"type": "random", "per": "log", "valid": 0.2, "test": 0.2})
    assert data.interactions.num_rows == 120
    rows = {(row["user_id"], row["item_id"]): row["value"] for row in data.interactions.to_pylist()}
    assert rows["5", "3"] == 2.5
    assert len(rows) == 120
    assert data.items["text"].to_pylist()[2] == "A joke, 2."
    assert data.rejected["line"].to_pylist() == [122]
    (tmp_path / "jokes.tsv").write_text("number\ttext\n0\tA joke.\n")
    with pytest.raises(DataError, match="no column 'joke'"):
        Jester(path=tmp_path).read()


def coats(folder: Path, **changed: str) -> Path:
    files = {
        "train.ascii": "5 0 0\n0 3 1\n",
        "test.ascii": "0 0 2\n4 0 0\n",
        "propensities.ascii": "0.5 0.1 0.1\n0.1 0.2 0.3\n",
        "user_features.ascii": "1 0 1 1 0\n0 1 1 1 0\n",
        "user_features_map.txt": "gender:men\ngender:women\nage:20-30\nlocation:rural\nfashioninterest:very",
        "item_features.ascii": "1 0 1 1 0\n0 1 0 0 1\n1 0 1 0 1\n",
        "item_features_map.txt": "gender:men\ngender:women\njackettype:parkas\ncolor:black\ncolor:other",
    }
    for name, text in (files | changed).items():
        (folder / name).write_text(text)
    return folder


def test_coat(tmp_path: Path):
    found = Coat(path=coats(tmp_path)).read()
    rows = found.interactions.to_pylist()
    assert [(row["user_id"], row["item_id"], row["value"], row["part"]) for row in rows] == [
        ("0", "0", 5.0, "train"), ("1", "1", 3.0, "train"), ("1", "2", 1.0, "train"),
        ("0", "2", 2.0, "test"), ("1", "0", 4.0, "test"),
    ]  # fmt: skip
    assert [row["propensity"] for row in rows] == [0.5, 0.2, 0.3, 16 / 3, 16 / 3]
    assert [row["line"] for row in rows] == [1, 2, 2, 1, 2]
    assert found.items is not None
    assert found.users is not None
    assert found.items["title"].to_pylist()[0] == "black parkas for men"
    assert found.items["colour"].to_pylist() == ["black", "other", "other"]
    assert found.users["gender"].to_pylist() == ["men", "women"]
    assert found.users["age"].to_pylist() == ["20-30", "20-30"]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("test.ascii", "0 0\n4 0\n", "of different shapes"),
        ("train.ascii", "5 0 0\n0 3\n", r"train.ascii:2: 2 numbers where the first line has 3"),
        ("train.ascii", "5 0 0\n0 x 1\n", r"train.ascii:2: could not convert"),
        ("item_features.ascii", "1 0\n0 1\n1 0\n", "flags, and there are 3 rows and 5 names"),
    ],
)
def test_coat_that_is_damaged(name: str, text: str, message: str, tmp_path: Path):
    with pytest.raises(DataError, match=message):
        Coat(path=coats(tmp_path, **{name: text})).read()


def test_open_bandit(tmp_path: Path):
    head = ",timestamp,item_id,position,click,propensity_score," + ",".join(f"user_feature_{i}" for i in range(4))
    rows = [f"{i},2019-11-24 00:00:{10 + i}+00:00,{i % 3},{1 + i % 3},{i % 2},0.25,a,b,c,{i % 2}" for i in range(30)]
    (tmp_path / "random_men.csv").write_text("\n".join([head, *rows, "9,no time,1,1,0,0.25,a,b,c,0"]) + "\n")
    items = "\n".join(f"{i},{i},0.{i},x,y,z" for i in range(3))
    head = ",item_id," + ",".join(f"item_feature_{i}" for i in range(4))
    (tmp_path / "item_context_men.csv").write_text(f"{head}\n{items}\n")
    data = prepared(OpenBandit(campaign="men", path=tmp_path), "time")
    log = Log.of(data)
    assert len(log) == 30
    assert log.n_users == 2
    assert sorted(log.actions) == ["click", "skip"]
    assert set(data.interactions["propensity"].to_pylist()) == {0.25}
    assert set(data.interactions["position"].to_pylist()) == {1.0, 2.0, 3.0}
    assert len(set(data.interactions["impression_id"].to_pylist())) == 30
    assert data.rejected["line"].to_pylist() == [32]


@pytest.mark.data
@pytest.mark.parametrize(
    ("folder", "reader", "rows"),
    [("jester-5k", Jester(), 363_209), ("coat-shopping", Coat(), 11_600), ("open-bandit-small", OpenBandit(), 10_000)],
)
def test_as_published(folder: str, reader: Any, rows: int):
    if not (DATA / folder).is_dir():
        pytest.skip(f"{DATA / folder} is not there")
    found = reader.read()
    assert found.interactions.num_rows == rows
    assert found.rejected == []
