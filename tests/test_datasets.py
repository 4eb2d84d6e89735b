"""Readers: every layout gives the same schema, and what cannot be read is named by file, line and column."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from genre.config import DataSection
from genre.data import Dataset, Log
from genre.datasets.movielens import GENRES, MovieLens
from genre.datasets.sequences import Sequences
from genre.datasets.table import Table
from genre.errors import DataError
from genre.labels import Label
from genre.prepare import build
from genre.rows import typed


def whole(reader: object, **settings: object) -> Dataset:
    """What the reader gives, prepared; splits that need more rows than a toy has are given leave."""
    section = DataSection(reader=reader, split={"type": "last"}, max_rejected=1.0, **settings)
    return build(section.reader.read(), section, 7)


def shop_table(folder: Path, **settings: object) -> Table:
    return Table(
        interactions=folder / "interactions.csv", items=folder / "items.csv", users=folder / "users.csv", **settings
    )


# MovieLens


def official_100k(folder: Path) -> None:
    (folder / "u.data").write_text("1\t10\t5\t881250949\n1\t20\t3\t881250950\n2\t20\t1\t881250951\n")
    flags = {10: ["Comedy", "Children's"], 20: ["unknown"]}
    titles = {10: "Café, The (1995)", 20: "Heat"}
    rows = ["|".join([str(i), titles[i], "", "", "", *("01"[g in flags[i]] for g in GENRES)]) for i in (10, 20)]
    (folder / "u.item").write_bytes(("\n".join(rows) + "\n").encode("latin-1"))
    (folder / "u.user").write_text("1|24|M|technician|01234\n2|53|F|other|94043\n")


def recbole_100k(folder: Path) -> None:
    head = "user_id:token\titem_id:token\trating:float\ttimestamp:float\n"
    rows = "1\t10\t5\t881250949\n1\t20\t3\t881250950\n2\t20\t1\t881250951\n"
    (folder / "ml-100k.inter").write_text(head + rows)
    head = "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq\n"
    rows = "10\tCafé, The\t1995\tChildren's Comedy\n20\tHeat\tunkonwn\tunknown\n"
    (folder / "ml-100k.item").write_text(head + rows, encoding="utf-8")
    head = "user_id:token\tage:token\tgender:token\toccupation:token\tzip_code:token\n"
    (folder / "ml-100k.user").write_text(head + "1\t24\tM\ttechnician\t01234\n2\t53\tF\tother\t94043\n")


@pytest.mark.parametrize("layout", [official_100k, recbole_100k])
def test_both_layouts_of_movielens_100k_give_the_same_tables(tmp_path, layout):
    layout(tmp_path)
    reading = MovieLens(path=tmp_path).read()
    log = reading.interactions.select(["user_id", "item_id", "value", "timestamp", "action"]).to_pylist()
    assert log[0] == {"user_id": "1", "item_id": "10", "value": "5", "timestamp": "881250949", "action": "rate"}
    assert [row["item_id"] for row in log] == ["10", "20", "20"]
    assert reading.items is not None
    assert reading.users is not None
    assert reading.items["title"].to_pylist() == ["The Café", "Heat"]
    assert reading.items["year"].to_pylist() == ["1995", ""]
    assert [sorted(words) for words in reading.items["categories"].to_pylist()] == [["Children's", "Comedy"], []]
    assert reading.users.select(["user_id", "gender", "age", "occupation", "region"]).to_pylist()[0] == {
        "user_id": "1",
        "gender": "M",
        "age": "24",
        "occupation": "technician",
        "region": "01234",
    }


def test_movielens_1m_and_latest_small(tmp_path):
    (tmp_path / "ratings.dat").write_text("1::10::5::978300760\n2::10::3::978300761\n")
    (tmp_path / "movies.dat").write_bytes("10::Misérables, Les (1995)::Drama|Musical\n".encode("latin-1"))
    (tmp_path / "users.dat").write_text("1::F::1::10::48067\n2::M::56::16::70072\n")
    reading = MovieLens(version="1m", path=tmp_path).read()
    assert reading.items is not None
    assert reading.items.select(["title", "year", "categories"]).to_pylist() == [
        {"title": "Les Misérables", "year": "1995", "categories": ["Drama", "Musical"]}
    ]
    for name, text in (
        ("ratings", "userId,movieId,rating,timestamp\n1,7,4.5,964982703\n"),
        (
            "movies",
            'movieId,title,genres\n7,"American President, The (1995)",Comedy|Romance\n8,Odd,(no genres listed)\n',
        ),
    ):
        (tmp_path / f"{name}.csv.gz").write_bytes(gzip.compress(text.encode()))
    reading = MovieLens(version="latest-small", path=tmp_path).read()
    assert reading.items is not None
    assert reading.items["title"].to_pylist() == ["The American President", "Odd"]
    assert reading.items["categories"].to_pylist() == [["Comedy", "Romance"], []]
    assert reading.interactions["value"].to_pylist() == ["4.5"]


def test_movielens_that_is_not_there_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setenv("GENRE_CACHE", str(tmp_path))
    monkeypatch.setenv("GENRE_DATA", str(tmp_path))
    with pytest.raises(DataError, match=r"u\.data.*ml-100k\.inter.*'genre data get movielens-100k'"):
        MovieLens().read()


@pytest.mark.data
def test_real_sets_have_the_counts_that_their_publishers_state(real_data):
    movies = whole(MovieLens(version="latest-small", path=real_data / "movielens-latest-small"))
    assert movies.manifest["counts"]["interactions"] == 100_836
    assert movies.manifest["counts"]["users"] == 610
    beauty = real_data / "amazon-2014-beauty"
    reader = Sequences(
        path=beauty / "beauty_sequences.tsv.gz", items=beauty / "beauty_items.tsv.gz", item_columns={"title": "text_id"}
    )
    counts = whole(reader).manifest["counts"]
    assert [counts[name] for name in ("users", "items", "interactions", "rejected")] == [22_363, 12_101, 198_502, 0]


# Table


def test_table_reads_csv_with_side_tables(shop):
    data = whole(shop_table(shop))
    assert data.manifest["counts"]["actions"] == {"view": 5, "purchase": 1, "skip": 1}
    assert data.items["item_id"].to_pylist() == ["tea", "cup", "pot", "jug"]
    assert data.items["title"].to_pylist()[1] == "Cup, blue"
    assert data.items["categories"].to_pylist()[0] == ["drink", "leaf"]
    assert data.users.to_pylist()[0] == {"user_id": "ann", "gender": "F", "age": 31, "region": "01234"}
    assert data.interactions["timestamp"][0].as_py() == 1704103200.0


def test_the_same_log_in_every_format_is_the_same_data(shop):
    expected = whole(shop_table(shop)).interactions
    from pyarrow import csv

    rows = csv.read_csv(shop / "interactions.csv")
    pq.write_table(rows, shop / "log.parquet")
    lines = "\n".join(json.dumps(row, default=str) for row in rows.to_pylist())
    (shop / "log.jsonl").write_text(lines)
    (shop / "log.jsonl.gz").write_bytes(gzip.compress(lines.encode()))
    (shop / "log.tsv").write_text((shop / "interactions.csv").read_text().replace(",", "\t"))
    (shop / "bom.csv").write_bytes(b"\xef\xbb\xbf" + (shop / "interactions.csv").read_bytes())
    for name in ("log.parquet", "log.jsonl", "log.jsonl.gz", "log.tsv", "bom.csv"):
        found = whole(Table(interactions=shop / name, items=shop / "items.csv", users=shop / "users.csv")).interactions
        assert found.to_pylist() == expected.to_pylist(), name


def test_times_in_seconds_milliseconds_and_with_zones_are_utc_seconds(tmp_path):
    times = ["1704103200", "1704103200000", "2024-01-01T10:00:00Z", "2024-01-01 12:00:00+02:00", "2024-01-01T10:00:00"]
    rows = [f"u{i % 2},i{i},{time}" for i, time in enumerate([*times, "2024-01-02"])]
    (tmp_path / "log.csv").write_text("user_id,item_id,timestamp\n" + "\n".join(rows))
    data = whole(Table(interactions=tmp_path / "log.csv"))
    found = dict(zip(data.interactions["item_id"].to_pylist(), data.interactions["timestamp"].to_pylist(), strict=True))
    assert [found[f"i{i}"] for i in range(6)] == [1704103200.0] * 5 + [1704153600.0]


def test_parquet_timestamps_and_dates_are_utc_seconds(tmp_path):
    days = pa.array([19723, 19724, 19725] * 2, pa.date32())
    for name, kind in (("day", None), ("naive", pa.timestamp("ms")), ("zoned", pa.timestamp("ns", "Asia/Shanghai"))):
        column = days if kind is None else days.cast(pa.timestamp("ms")).cast(kind)
        table = {"user_id": ["a"] * 3 + ["b"] * 3, "item_id": ["x", "y", "z"] * 2, "timestamp": column}
        pq.write_table(pa.table(table), tmp_path / f"{name}.parquet")
        data = whole(Table(interactions=tmp_path / f"{name}.parquet"))
        assert data.interactions["timestamp"].to_pylist()[:2] == [19723 * 86400.0, 19724 * 86400.0], name


def test_columns_and_actions_of_other_names(tmp_path):
    (tmp_path / "log.csv").write_text(
        "user_id,uid,item,clicked,seconds\nold,a,x,1,3\nold,a,y,0,\nold,a,z,1,7.5\nold,a,w,1,1\nold,b,x,1,2\n"
    )
    columns = {"user_id": "uid", "item_id": "item", "action": "clicked", "read_time": "seconds"}
    data = whole(Table(interactions=tmp_path / "log.csv", columns=columns, actions={"0": "skip", "1": "click"}))
    assert data.manifest["counts"]["actions"] == {"click": 4, "skip": 1}
    assert data.users["user_id"].to_pylist() == ["a", "b"]
    assert data.interactions["read_time"].to_pylist() == [3, None, 7.5, 1, 2]


def test_a_column_of_words_in_the_log_is_kept_and_can_be_a_label(tmp_path):
    (tmp_path / "log.csv").write_text("user_id,item_id,note\na,x,good\na,y,bad\na,z,\nb,x,ok\n")
    log = Log.of(whole(Table(interactions=tmp_path / "log.csv")))
    assert log.words["note"].words == ("bad", "good", "ok")
    holds = Label.parse("note == 'good'").evaluate(log)
    assert np.nansum(holds) == 1
    assert np.isnan(holds).sum() == 1


def test_post_codes_keep_their_leading_zero():
    assert typed(pa.chunked_array([["01234", "98765"]])).to_pylist() == ["01234", "98765"]
    assert typed(pa.chunked_array([["0", "0.5", "-3"]])).to_pylist() == [0, 0.5, -3]


def test_a_missing_column_is_named_with_the_nearest_and_the_mend(shop):
    with pytest.raises(DataError, match=r"interactions\.csv: no column 'item'.*did you mean 'item_id'\?.*columns"):
        shop_table(shop, columns={"item_id": "item"}).read()
    (shop / "interactions.csv").write_text("usr,item_id\na,x\n")
    with pytest.raises(DataError, match=r"no column 'user_id'.*as in columns: \{user_id: <its name there>\}"):
        shop_table(shop).read()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "log.csv",
            b"user_id,item_id\na,x\nb,caf\xe9\n",
            r"log\.csv:3: byte 0xe9 is not UTF-8; save the file as UTF-8",
        ),
        ("log.csv", b"", r"log\.csv: the file is empty"),
        ("log.csv", b"user_id,item_id,item_id\na,x,y\n", r"column 'item_id' is there twice"),
        ("log.csv", b'user_id,item_id\na,x\nb,"y\nc,z\n', r"log\.csv:3: the row that begins here is not CSV"),
        ("log.csv.gz", gzip.compress(b"user_id,item_id\n" + b"a,x\n" * 999)[:-20], r"cut short or damaged"),
        ("log.csv.gz", b"user_id,item_id\na,x\n", r"cut short or damaged"),
        ("log.parquet", b"PAR1 and no more", r"log\.parquet: not a whole Parquet file"),
        ("log.xlsx", b"?", r"unknown format; name it \.csv"),
    ],
)
def test_files_that_cannot_be_read(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        Table(interactions=tmp_path / name).read()


def test_a_truncated_parquet_file_and_an_unknown_encoding(tmp_path):
    pq.write_table(pa.table({"user_id": ["a"] * 999, "item_id": [str(i) for i in range(999)]}), tmp_path / "l.parquet")
    (tmp_path / "l.parquet").write_bytes((tmp_path / "l.parquet").read_bytes()[:-50])
    with pytest.raises(DataError, match="not a whole Parquet file"):
        Table(interactions=tmp_path / "l.parquet").read()
    (tmp_path / "log.csv").write_text("user_id,item_id\na,x\n")
    with pytest.raises(DataError, match="no encoding is called 'utf-88'"):
        Table(interactions=tmp_path / "log.csv", encoding="utf-88").read()


def test_other_encodings_are_read_when_named(tmp_path):
    (tmp_path / "log.csv").write_bytes("user_id,item_id\na,茶\na,杯\na,壶\nb,茶\n".encode("gb18030"))
    assert whole(Table(interactions=tmp_path / "log.csv", encoding="gb18030")).items["item_id"].to_pylist()[0] == "茶"


def test_rows_that_do_not_parse_are_rejected_with_their_line(tmp_path):
    text = 'user_id,item_id\na,"x\ny"\na,z,extra\nb\n\nb,z\n'
    (tmp_path / "log.csv").write_text(text)
    reading = Table(interactions=tmp_path / "log.csv").read()
    assert reading.interactions["line"].to_pylist() == [2, 7]
    assert [(row["line"], row["reason"]) for row in reading.rejected] == [
        (4, "has 3 fields where 2 are expected"),
        (5, "has 1 fields where 2 are expected"),
    ]
    (tmp_path / "log.jsonl").write_text(
        '{"user_id": "a", "item_id": 1}\n{"user_id": \n[1]\n\n{"user_id": 2, "item_id": "x"}\n'
    )
    reading = Table(interactions=tmp_path / "log.jsonl").read()
    assert [row["line"] for row in reading.rejected] == [2, 3]
    assert reading.interactions["item_id"].to_pylist() == ["1", "x"]


def test_a_cell_of_any_length_is_read(tmp_path):
    (tmp_path / "log.tsv").write_text("user_id\titems\na\t" + " ".join(str(i) for i in range(60_000)) + "\nb\t1 2 3\n")
    assert Sequences(path=tmp_path / "log.tsv").read().interactions.num_rows == 60_003


# Sequences


def test_sequences_keep_their_order_and_know_no_time(tmp_path):
    (tmp_path / "s.tsv").write_text("user_id\titems\nb\t3 1 2 1\na\t2 3 1\nc\t\n")
    (tmp_path / "i.tsv").write_text('item_id\ttext_id\n1\tone "small\n2\ttwo\n3\tthree\n4\tnever used\n')
    data = whole(Sequences(path=tmp_path / "s.tsv", items=tmp_path / "i.tsv", item_columns={"title": "text_id"}))
    assert data.interactions["item_id"].to_pylist() == ["3", "1", "2", "1", "2", "3", "1"]
    assert data.interactions["timestamp"].null_count == 7
    assert data.users["user_id"].to_pylist() == ["b", "a"]
    assert data.items["title"].to_pylist() == ['one "small', "two", "three", "never used"]
    assert data.manifest["rejected"] == {"a user without items": 1}


def test_sequences_of_another_shape_are_refused(tmp_path):
    (tmp_path / "s.tsv").write_text("user_id\titems\tmore\na\t1\t2\n")
    with pytest.raises(DataError, match="expected two tab-separated columns"):
        Sequences(path=tmp_path / "s.tsv").read()
