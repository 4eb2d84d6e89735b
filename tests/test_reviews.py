"""Texts with labels, and the places in them that carry one."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from genre.component import Slot
from genre.config import DataSection
from genre.data import Dataset, Log
from genre.datasets.reviews import WOMENS_CLOTHING, Reviews
from genre.errors import DataError
from genre.prepare import build
from genre.spans import apart, find_spans, read_spans, write_spans

WOMENS = '''0,767,33,,"Silky, and ""soft""",4,1,0,Initmates,Intimate,Intimates
1,1080,34,Flaws,,2,0,14,General,Dresses,Dresses
2,1080,60,,  ,3,0,0,General,Dresses,Dresses
3,767,25,Warm,"Wear it
daily",5,1,,Initmates,,Intimates
'''
HEADER = ["", *WOMENS_CLOTHING.values()]


def prepared(reader: Reviews) -> Dataset:
    section = DataSection(reader=reader, split={"type": "given"}, max_rejected=1.0)
    return build(section.reader.read(), section, 7)


def test_womens_clothing_is_read_without_any_setting(tmp_path, monkeypatch):
    folder = tmp_path / "womens-clothing-reviews"
    folder.mkdir()
    text = f"{','.join(HEADER)}\n{WOMENS}"
    (folder / "reviews.csv.gz").write_bytes(gzip.compress(text.encode()))
    monkeypatch.setenv("GENRE_DATA", str(tmp_path))
    reading = Reviews().read()
    assert reading.name == "womens-clothing-reviews"
    assert reading.licence == "CC0"
    log = reading.interactions.to_pylist()
    assert [row["user_id"] for row in log] == ["r000001", "r000002", "r000004"]
    assert log[0] | {"file": ""} == {
        "user_id": "r000001",
        "item_id": "767",
        "action": "review",
        "title": "",
        "review": 'Silky, and "soft"',
        "value": "4",
        "recommended": "1",
        "helpful": "0",
        "age": "33",
        "division": "Initmates",
        "department": "Intimate",
        "category": "Intimates",
        "line": 2,
        "file": "",
    }
    assert log[2]["review"] == "Wear it\ndaily"
    assert [(row["line"], row["reason"]) for row in reading.rejected] == [(4, "no text in title, review")]
    assert "age=60" in str(reading.rejected[0]["row"])
    assert reading.items is not None
    assert reading.items.to_pylist() == [
        {"item_id": "767", "division": "Initmates", "department": "Intimate", "category": "Intimates"},
        {"item_id": "1080", "division": "General", "department": "Dresses", "category": "Dresses"},
    ]


def test_prepared_texts_have_numbers_and_categories_to_learn(tmp_path):
    rows = [f"{'fine' if i % 2 else 'bad'} {i},{i % 5},{'red' if i % 2 else ''},{part}" for i, part in enumerate(PARTS)]
    (tmp_path / "texts.csv").write_text("body,stars,colour,part\n" + "\n".join(rows) + "\n")
    data = prepared(Reviews(path=tmp_path / "texts.csv", columns={"value": "stars"}, text=("body",), item_columns=()))
    log = Log.of(data)
    assert (log.n_users, log.n_items) == (5, 5)
    assert log.value.tolist() == [0, 1, 2, 3, 4]
    assert log.words["colour"].words == ("red",)
    assert log.words["colour"].code.tolist() == [-1, 0, -1, 0, -1]
    assert data.interactions["body"].to_pylist()[1] == "fine 1"


PARTS = ("train", "train", "train", "valid", "test")


def test_chinese_texts_in_gb18030_and_an_error_that_names_the_encoding(tmp_path):
    path = tmp_path / "hotel.csv"
    path.write_bytes("label,review\n1,房间很干净，服务好\n0,太吵了\n".encode("gb18030"))
    reader = Reviews(path=path, columns={"value": "label"}, text=("review",), item_columns=(), encoding="gb18030")
    log = reader.read().interactions
    assert log["review"].to_pylist() == ["房间很干净，服务好", "太吵了"]
    assert log["item_id"].to_pylist() == log["user_id"].to_pylist() == ["r000001", "r000002"]
    with pytest.raises(DataError, match=r"hotel\.csv:2: .* set the reader's encoding"):
        Reviews(path=path, columns={"value": "label"}, text=("review",), item_columns=()).read()


def test_json_lines_and_parquet_with_users_and_times(tmp_path):
    rows = [{"who": "u", "what": "x", "t": 5, "say": "hi"}, {"who": "v", "what": "x", "t": 6, "say": None}]
    (tmp_path / "log.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "log.parquet")
    names = {"user_id": "who", "item_id": "what", "timestamp": "t"}
    for path in (tmp_path / "log.jsonl", tmp_path / "log.parquet"):
        reading = Reviews(path=path, columns=names, text=("say",), item_columns=(), action="comment").read()
        kept = reading.interactions.select(["user_id", "item_id", "timestamp", "say", "action"]).to_pylist()
        assert kept == [{"user_id": "u", "item_id": "x", "timestamp": 5, "say": "hi", "action": "comment"}]
        assert [row["line"] for row in reading.rejected] == [2]
        assert reading.items is None


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, r"no column 'Clothing ID'.*check data\.reader\.columns"),
        ({"columns": {}}, r"no column 'title'.*name it in data\.reader\.columns"),
        ({"columns": {}, "text": ()}, r"data\.reader\.text is empty"),
        ({"columns": {}, "text": ("body",)}, r"no column 'division'.*data\.reader\.item_columns"),
        ({"columns": {}, "text": ("body",), "item_columns": (), "spans": "ents"}, r"no column 'ents'.*reader\.spans"),
        ({"columns": {}, "text": ("body", "stars"), "spans": "ents"}, r"data\.reader\.text has body, stars; name one"),
    ],
)
def test_a_setting_that_does_not_fit_the_file_is_named(tmp_path, settings, message):
    (tmp_path / "texts.csv").write_text("body,stars\nfine,5\n")
    with pytest.raises(DataError, match=message):
        Reviews(path=tmp_path / "texts.csv", **settings).read()


def test_a_missing_file_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("GENRE_DATA", str(tmp_path))
    with pytest.raises(
        DataError, match=r"data\.reader\.path: there is no womens-clothing-reviews.reviews\.csv\.gz nor"
    ):
        Slot("datasets").build("reviews").files()
    with pytest.raises(DataError, match=r"there is no \S+absent\.csv; fetch it"):
        Reviews(path=tmp_path / "absent.csv").files()


# Spans


def test_spans_are_read_from_a_csv_and_a_bad_one_rejects_its_row(tmp_path):
    cells = [
        "0:4:PER 8:13:LOC",
        '"[[8, 13, ""LOC""], {""start"": 0, ""end"": 4, ""label"": ""PER""}]"',
        "",
        "8:14:LOC",
        "4:2:PER",
        "Anna",
        "0:4:",
    ]
    (tmp_path / "names.csv").write_text("text,names\n" + "".join(f"Anna in Paris,{cell}\n" for cell in cells))
    reading = Reviews(path=tmp_path / "names.csv", columns={}, text=("text",), item_columns=(), spans="names").read()
    both = ["0:4:PER", "8:13:LOC"]
    assert reading.interactions["spans"].to_pylist() == [both, both, []]
    assert "names" not in reading.interactions.column_names
    reasons = [str(row["reason"]) for row in reading.rejected]
    assert [row["line"] for row in reading.rejected] == [5, 6, 7, 8]
    assert reasons[0] == "span '8:14:LOC' does not lie in its text of 13 characters"
    assert "does not lie" in reasons[1]
    assert reasons[2] == "span 'Anna' is not start:end:label"
    assert reasons[3] == "span '0:4:' has no label"


def test_spans_survive_preparing(tmp_path):
    rows = [{"text": f"no {i} word", "spans": [f"3:{3 + len(str(i))}:NUM"], "part": PARTS[i]} for i in range(5)]
    (tmp_path / "names.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    reader = Reviews(path=tmp_path / "names.jsonl", columns={}, text=("text",), item_columns=(), spans="spans")
    data = prepared(reader)
    data.save(tmp_path / "data")
    assert Dataset.load(tmp_path / "data").interactions["spans"].to_pylist() == [["3:4:NUM"]] * 5


def test_of_overlapping_spans_the_longer_stays():
    assert apart([(0, 8, "A"), (9, 12, "C"), (0, 4, "B"), (3, 9, "D"), (9, 12, "C")]) == [(0, 8, "A"), (9, 12, "C")]
    assert apart([(4, 8, "B"), (2, 6, "A")]) == [(2, 6, "A")]


def test_spans_that_are_written_are_read_again():
    spans = [(0, 2, "ORG:UNIT"), (5, 9, "PER")]
    assert read_spans(write_spans(spans), 9) == spans
    assert read_spans(None) == []


@pytest.mark.parametrize(
    ("text", "surface", "found"),
    [
        ("paris and Paris", "Paris", [(0, 5), (10, 15)]),
        ("comparison parisian", "Paris", []),
        ("meet the the band", "the  the", [(5, 12)]),
        ("İzmir and ankara", "Ankara", [(10, 16)]),
        ("我在北京工作", "北京", [(2, 4)]),
        ("covid-19: a year", "COVID-19", [(0, 8)]),
        ("u.s. votes", "U.S.", [(0, 4)]),
        ("anything", " ", []),
    ],
)
def test_surfaces_are_found_as_whole_words_in_any_case(text, surface, found):
    assert find_spans(text, [(surface, "X")]) == [(start, end, "X") for start, end in found]


@pytest.mark.data
def test_the_real_womens_clothing_reviews(real_data: Path, monkeypatch):
    monkeypatch.setenv("GENRE_DATA", str(real_data))
    reading = Reviews().read()
    assert (reading.interactions.num_rows, len(reading.rejected)) == (22_642, 844)
    assert reading.items is not None
    assert reading.items.num_rows == len(set(reading.interactions["item_id"].to_pylist()))
