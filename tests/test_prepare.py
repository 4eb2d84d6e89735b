"""Preparing: every row is used or rejected with its reason, leaks stop the stage, and writing is all or nothing."""

from __future__ import annotations

import errno
import json
import os
import resource
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genre import data as data_module
from genre.component import component
from genre.config import Config, DataSection
from genre.data import PARTS, Dataset, Log
from genre.datasets import Reading
from genre.errors import DataError, GenreError, RunError
from genre.prepare import build, prepare
from genre.run import Run


def section(**fields: Any) -> DataSection:
    return DataSection(reader={"type": "table"}, **{"max_rejected": 1.0, **fields})


def reading(rows: list[dict[str, Any]], **tables: Any) -> Reading:
    """A reading of rows given as words, placed in ``log.csv`` from line 2 on."""
    names = dict.fromkeys(name for row in rows for name in row)
    columns = {name: [row.get(name) for row in rows] for name in names}
    log = pa.table({**columns, "file": ["log.csv"] * len(rows), "line": list(range(2, len(rows) + 2))})
    return Reading(log, name="toy", **{name: pa.table(table) for name, table in tables.items()})


def events(user: str, n: int, **more: Any) -> list[dict[str, Any]]:
    return [
        {"user_id": user, "item_id": f"i{i}", "action": "view", "timestamp": str(100 + i), **more} for i in range(n)
    ]


GOOD = [*events("a", 4), *events("b", 5)]


def rejected(rows: list[dict[str, Any]], **tables: Any) -> list[tuple[str, int, str]]:
    """File, line and reason of each row that is rejected from good rows followed by ``rows``."""
    data = build(reading([*GOOD, *rows], **tables), section(), 7)
    assert data.interactions.num_rows + data.rejected.num_rows == len(GOOD) + len(rows)
    return [(row["file"], row["line"], row["reason"]) for row in data.rejected.to_pylist()]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"user_id": ""}, "no user_id"),
        ({"user_id": None}, "no user_id"),
        ({"item_id": "  "}, "no item_id"),
        ({"action": ""}, "no action"),
        ({"value": "five"}, "value is not a finite number ('five')"),
        ({"value": "nan"}, "value is not a finite number ('nan')"),
        ({"value": "inf"}, "value is not a finite number ('inf')"),
        ({"value": "1e999"}, "value is not a finite number ('1e999')"),
        ({"position": "top"}, "position is not a finite number ('top')"),
        ({"propensity": "-inf"}, "propensity is not a finite number ('-inf')"),
        ({"timestamp": "yesterday"}, "timestamp is neither seconds nor ISO 8601 ('yesterday')"),
        ({"timestamp": "2024-02-30"}, "timestamp is neither seconds nor ISO 8601 ('2024-02-30')"),
        ({"part": "holdout"}, "part is none of train, valid, test ('holdout')"),
    ],
)
def test_a_row_with_a_bad_cell_is_rejected_with_its_place_and_reason(change, reason):
    row = {"user_id": "a", "item_id": "x", "action": "view", "timestamp": "500", **change}
    assert rejected([row]) == [("log.csv", 11, reason)]


def test_nan_and_infinity_in_columns_of_numbers_are_rejected():
    rows = [{"user_id": "ab"[i % 2], "item_id": f"i{i}", "timestamp": float(i), "value": float(i)} for i in range(10)]
    rows[3]["value"], rows[4]["value"], rows[5]["timestamp"] = float("nan"), float("inf"), float("inf")
    data = build(reading(rows), section(), 7)
    reasons = [row["reason"] for row in data.rejected.to_pylist()]
    assert reasons[:2] == ["value is not a finite number (nan)", "value is not a finite number (inf)"]
    assert reasons[2] == "timestamp is neither seconds nor ISO 8601 (inf)"


def test_duplicates_are_rejected_and_the_first_kept():
    twice = {**GOOD[0], "value": "2"}
    assert rejected([twice]) == [("log.csv", 11, "is an earlier row again (same user, item, action and time)")]
    other_action = {**GOOD[0], "action": "purchase"}
    other_time = {**GOOD[0], "timestamp": "999"}
    assert rejected([other_action, other_time]) == []


def test_repetitions_without_a_time_are_kept():
    rows = [{"user_id": user, "item_id": item} for user in "ab" for item in "xyxx"]
    data = build(reading(rows), section(split={"type": "random", "test": 0.25, "valid": 0.25}), 7)
    assert data.interactions.num_rows == 8


def test_an_unknown_item_is_rejected_and_an_unknown_user_is_added():
    items = {"item_id": [f"i{i}" for i in range(5)], "title": ["t"] * 5}
    users = {"user_id": ["b"], "age": ["30"]}
    data = build(reading([*GOOD, {**GOOD[0], "item_id": "ghost"}], items=items, users=users), section(), 7)
    assert data.rejected["reason"].to_pylist() == ["item is not in the items table ('ghost')"]
    assert data.users.to_pylist() == [{"user_id": "b", "age": 30}, {"user_id": "a", "age": None}]


def test_duplicate_and_empty_keys_of_the_side_tables_are_rejected():
    items = {
        "item_id": ["i0", "i1", "i0", "", "None", "i2", "i3", "i4"],
        "title": list("abcdefgh"),
        "file": ["items.csv"] * 8,
        "line": list(range(2, 10)),
    }
    users = {"user_id": ["a", "b", "a"], "gender": list("FMM")}
    data = build(reading(GOOD, items=items, users=users), section(), 7)
    found = [(row["file"], row["line"], row["reason"]) for row in data.rejected.to_pylist()]
    assert found[:2] == [("items.csv", 4, "item_id is there twice ('i0')"), ("items.csv", 5, "no item_id")]
    assert found[2][2] == "user_id is there twice ('a')"
    assert data.items["title"].to_pylist() == ["a", "b", "e", "f", "g", "h"]
    assert data.users["gender"].to_pylist() == ["F", "M"]
    assert "line" not in data.items.column_names


def test_too_many_rejected_rows_stop_the_stage_and_name_the_commonest_reason():
    bad = [{**GOOD[0], "value": word, "timestamp": str(i)} for i, word in enumerate(("five", "six", "nan"))]
    message = (
        r"4 of 13 rows .* data\.max_rejected \(5%\): 3 x value is not a finite number; 1 x no item_id\. .*log\.csv:11"
    )
    with pytest.raises(DataError, match=message):
        build(reading([*GOOD, *bad, {**GOOD[0], "item_id": None}]), section(max_rejected=0.05), 7)


@pytest.mark.parametrize("rows", [events("a", 9), []])
def test_fewer_than_two_users(rows):
    columns = {name: pa.array([row[name] for row in rows], pa.string()) for name in ("user_id", "item_id")}
    with pytest.raises(DataError, match=r"toy: [01] user with usable interactions; recommending needs at least two"):
        build(Reading(pa.table(columns), name="toy"), section(), 7)


def test_a_column_that_a_reader_forgot():
    with pytest.raises(DataError, match="the interactions have no column 'item_id'; they have: user_id"):
        build(Reading(pa.table({"user_id": ["a", "b"]})), section(), 7)
    with pytest.raises(DataError, match="the table of items has no column 'item_id'"):
        build(reading(GOOD, items={"sku": ["i1"]}), section(), 7)


def test_items_without_text_are_kept_and_counted():
    items = {"item_id": [f"i{i}" for i in range(6)], "title": ["tea", "", "  ", None, "cup", "pot"]}
    data = build(reading(GOOD, items=items), section(), 7)
    assert data.items.num_rows == 6
    assert "3 of 6 items have an empty title" in data.manifest["problems"]
    bare = build(reading(GOOD), section(), 7)
    assert "5 of 5 items have an empty title" in bare.manifest["problems"]


def test_what_needs_to_be_known_is_noted():
    rows = [
        *events("a", 4, value="5"),
        *events("b", 5, value="5"),
        {**events("b", 1, value="5")[0], "timestamp": "900"},
    ]
    rows[0]["timestamp"] = None
    problems = build(reading(rows), section(), 7).manifest["problems"]
    assert "value is 5 in every row; it tells nothing" in problems
    assert "1 of 10 interactions have no timestamp; they count as their users' first" in problems
    assert any(one.startswith("1 test events are with items that the user had in training") for one in problems)
    shuffled = [*events("a", 20), *events("b", 20)]
    problems = build(reading(shuffled), section(split="random"), 7).manifest["problems"]
    assert any("this split does not follow time" in one for one in problems)


# Leaks


@component
class Leaky:
    """A split that says it follows time and does not."""

    def assign(self, log: Log, seed: int) -> tuple[np.ndarray[Any, Any], dict[str, Any]]:
        part = np.zeros(len(log), dtype=np.int8)
        part[0], part[-1] = 2, 1
        return part, {"ordered": True}


def test_a_future_row_in_a_history_stops_the_stage():
    with pytest.raises(DataError, match=r"3 events come after one of a later part of the same user; the split leaks"):
        build(reading(GOOD), section(split=Leaky()), 7)


def given_parts(words: str, **change: str) -> Reading:
    rows = [
        {"user_id": "ab"[i % 2], "item_id": f"i{i}", "part": word, **change} for i, word in enumerate(words.split())
    ]
    return reading(rows)


def test_validation_equal_to_test_stops_the_stage():
    both = [{"user_id": "a", "item_id": "x", "part": part} for part in ("valid", "test")]
    train = [{"user_id": user, "item_id": "y", "part": "train"} for user in "ab"]
    with pytest.raises(DataError, match="validation and test hold the same interactions"):
        build(reading([*train, *both]), section(split="given"), 7)


@pytest.mark.parametrize(
    ("words", "missing"), [("train train test", "valid"), ("train train valid", "test"), ("test test valid", "train")]
)
def test_an_empty_part_stops_the_stage(words, missing):
    with pytest.raises(DataError, match=f"the split leaves no {missing} events"):
        build(given_parts(words), section(split="given"), 7)


def test_given_parts_are_kept_and_an_empty_word_is_history_only():
    data = build(given_parts("train train  valid test train ".replace("  ", " ")), section(split="given"), 7)
    assert data.manifest["counts"]["parts"] == {"train": 3, "valid": 1, "test": 1}


# Order


def test_rows_are_sorted_by_user_then_time_then_source():
    rows = [
        {"user_id": user, "item_id": item, "timestamp": time}
        for user, item, time in (
            ("b", "x", "5"),
            ("a", "y", "9"),
            ("b", "z", "5"),
            ("b", "w", "1"),
            ("a", "v", "2"),
            ("a", "u", "9"),
        )
    ]
    data = build(reading(rows, users={"user_id": ["a", "b"]}), section(), 7)
    assert data.interactions["item_id"].to_pylist() == ["v", "y", "u", "w", "x", "z"]
    assert data.interactions["part"].to_pylist() == ["train", "valid", "test"] * 2


def test_ties_are_shuffled_by_the_seed_alone_and_only_ties():
    rows = [{"user_id": user, "item_id": f"i{i}", "timestamp": str(i // 10)} for user in ("a", "b") for i in range(30)]

    def order(**fields: Any) -> list[str]:
        seed = fields.pop("seed", 7)
        return build(reading(rows), section(**fields), seed).interactions["item_id"].to_pylist()

    assert order() == [f"i{i}" for i in range(30)] * 2
    assert order(ties="shuffle") == order(ties="shuffle")
    assert order(ties="shuffle") != order(ties="shuffle", seed=8)
    shuffled = order(ties="shuffle")
    assert shuffled[:30] != order()[:30]
    for i in range(0, 60, 10):
        assert sorted(shuffled[i : i + 10]) == sorted(order()[i : i + 10])


def test_events_of_other_actions_stay_in_the_test_alone_and_are_counted():
    rows = [
        {"user_id": user, "item_id": f"i{i}", "action": "like" if i % 3 else "view", "timestamp": str(i)}
        for user in ("a", "b")
        for i in range(9)
    ]
    whole, part = build(reading(rows), section(), 7), build(reading(rows), section(actions=["view"]), 7)
    assert part.interactions.filter(pa.compute.equal(part.interactions["part"], "test")).equals(
        whole.interactions.filter(pa.compute.equal(whole.interactions["part"], "test"))
    )
    left = [row for row in part.interactions.to_pylist() if row["part"] != "test"]
    assert {row["action"] for row in left} == {"view"}
    assert len(left) == 6
    assert "10 events before the test are not of data.actions and left out: 10 x like" in part.manifest["problems"]
    with pytest.raises(DataError, match=r"data.actions: no event is a 'viewed'; did you mean 'view'"):
        build(reading(rows), section(actions=["viewed"]), 7)


cells = st.sampled_from(["", "a", "b", "7", "nan", "2024-01-01", None])


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.fixed_dictionaries(dict.fromkeys(("user_id", "item_id", "action", "value", "timestamp"), cells)),
        max_size=20,
    )
)
def test_no_row_vanishes_and_the_order_of_the_log_is_kept(rows):
    data = build(reading([*GOOD, *rows]), section(), 7)
    assert data.interactions.num_rows + data.rejected.num_rows == len(GOOD) + len(rows)
    assert sum(data.manifest["rejected"].values()) == data.rejected.num_rows == data.manifest["counts"]["rejected"]
    log = Log.of(data)
    assert (np.diff(log.user) >= 0).all()
    same = np.diff(log.user) == 0
    assert not (np.diff(log.time)[same] < 0).any()
    assert sum(data.manifest["counts"]["parts"].values()) == len(log)
    assert set(data.manifest["counts"]["parts"]) <= {*PARTS}


# The stage and its folder


def config(folder: Path, **fields: Any) -> Config:
    files = {name: str(folder / f"{name}.csv") for name in ("interactions", "items", "users")}
    return Config(name="shop", data={"reader": {"type": "table", **files}, "split": "last", **fields})


@pytest.fixture
def run(shop: Path) -> Run:
    return Run.create(config(shop), shop / "runs")


def test_the_stage_writes_once_and_again_only_when_a_source_changes(run, shop, capsys):
    data = prepare(run.config, run)
    assert "shop" not in data.manifest["name"]
    assert "2 users, 4 items, 7 interactions" in capsys.readouterr().out
    assert data.interactions["part"].to_pylist() == ["train", "valid", "test", "train", "valid", "valid", "test"]
    assert prepare(run.config, run).hash == data.hash
    assert capsys.readouterr().out == ""
    with (shop / "interactions.csv").open("a") as file:
        file.write("bob,jug,view,4,2024-01-05T12:00:00\nbob,jug,view,4,oops\n")
    changed = prepare(Config(**{**vars(run.config), "data": config(shop, max_rejected=0.5).data}), run)
    assert changed.hash != data.hash
    out = capsys.readouterr().out
    assert "rejected 1 rows (1 timestamp is neither seconds nor ISO 8601)" in out
    assert changed.rejected.to_pylist()[0]["line"] == 10


def test_the_same_seed_gives_the_same_bytes(shop):
    hashes = {prepare(config(shop), Run.create(config(shop), shop / place)).hash for place in ("one", "two")}
    assert len(hashes) == 1


def test_one_split_serves_runs_of_several_seeds(shop):
    rows = "".join(f"{user},{item},view,1,\n" for user in ("ann", "bob", "cy") for item in ("mug", "jug", "cup", "pan"))
    (shop / "interactions.csv").write_text("user_id,item_id,action,value,timestamp\n" + rows)
    (shop / "items.csv").write_text("item_id,title\nmug,Mug\njug,Jug\ncup,Cup\npan,Pan\n")
    (shop / "users.csv").write_text("user_id\nann\nbob\ncy\n")

    def parts(run_seed: int, **fields: Any) -> list[str]:
        made = config(shop, ties="shuffle", **fields)
        made = replace(made, seed=run_seed, name=f"seed{run_seed}{len(fields)}")
        data = prepare(made, Run.create(made, shop / "runs"))
        return [*data.interactions["item_id"].to_pylist(), *data.interactions["part"].to_pylist()]

    assert parts(7) != parts(8)
    assert parts(7, seed=3) == parts(8, seed=3)


def test_a_prepared_folder_of_another_version_is_refused_and_made_anew_by_the_stage(run, monkeypatch, capsys):
    prepare(run.config, run)
    manifest = run.path("data") / "manifest.json"
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "format": 99}))
    with pytest.raises(RunError, match=r"written in format 99, this version reads 1; run 'genre prepare' again"):
        Dataset.load(run.path("data"))
    capsys.readouterr()
    prepare(run.config, run)
    assert "made anew" in capsys.readouterr().out
    monkeypatch.setattr(data_module, "FORMAT", 2)
    with pytest.raises(RunError, match="written in format 1, this version reads 2"):
        Dataset.load(run.path("data"))


def test_a_changed_byte_is_found_and_mended_by_the_stage(run):
    before = prepare(run.config, run)
    file = run.path("data") / "interactions.parquet"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    with pytest.raises(RunError, match=r"interactions\.parquet: its bytes differ from those written \(SHA-256\)"):
        Dataset.load(run.path("data"))
    assert prepare(run.config, run).hash == before.hash
    file.unlink()
    with pytest.raises(RunError, match=r"interactions\.parquet: missing"):
        Dataset.load(run.path("data"))


def test_a_folder_without_a_manifest_names_the_command(tmp_path):
    with pytest.raises(RunError, match=r"no manifest\.json here; make it with 'genre prepare'"):
        Dataset.load(tmp_path)


def test_a_full_disk_leaves_the_old_folder(run, monkeypatch):
    data = prepare(run.config, run)

    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(
        GenreError, match=r"data.*could not be written \(No space left on device\); nothing was changed"
    ):
        data.save(run.path("data"))
    monkeypatch.undo()
    assert Dataset.load(run.path("data")).hash == data.hash
    assert [p.name for p in run.folder.iterdir() if p.name.startswith(".")] == []


def test_a_disk_that_fills_while_parquet_is_written_leaves_the_old_folder(run):
    data = prepare(run.config, run)
    noise = pa.table({"user_id": [str(x) for x in np.random.default_rng(0).integers(0, 1 << 60, 50_000)]})
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        with pytest.raises(GenreError, match=r"data.*could not be written .*nothing was changed"):
            Dataset(noise, data.items, data.users, data.rejected, data.manifest).save(run.path("data"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert Dataset.load(run.path("data")).hash == data.hash
    assert pq.read_table(run.path("data") / "interactions.parquet").num_rows == 7
