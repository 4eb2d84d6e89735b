"""News logs: what was shown and clicked, in three layouts."""

from __future__ import annotations

import gzip
import json
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from genre.config import DataSection
from genre.data import PARTS, Dataset, Log
from genre.datasets.impressions import Impressions
from genre.errors import DataError
from genre.labels import Label
from genre.prepare import build
from genre.splits.given import Given


def prepared(reader: Impressions, split: str = "given") -> Dataset:
    section = DataSection(reader=reader, split={"type": split, "valid": 0.3}, max_rejected=1.0)
    return build(section.reader.read(), section, 7)


def columns(table: pa.Table | None, *names: str) -> list[tuple[object, ...]]:
    assert table is not None
    return list(zip(*(table[name].to_pylist() for name in names), strict=True))


# DKN


@pytest.fixture
def dkn(tmp_path: Path) -> Path:
    train = [
        "0\ttom cruise film opens\t1\t34:Tom Cruise",
        "0\tgame night\t0\t35:The Game;36:Night",
        "1\ttom cruise film opens\t0\t34:Tom Cruise",
        "1\train\t1\t",
        "1\train again\tmaybe\t",
        "2\twind\t1\t",
    ]
    (tmp_path / "raw_train.tsv.gz").write_bytes(gzip.compress("\r\n".join(train).encode()))
    (tmp_path / "raw_test.txt").write_text("0\tsnow in oslo\t1\t40:Oslo\n1\tgame night\t0\t36:Night;36:Night\n")
    return tmp_path


def test_dkn_gives_clicks_and_skips_of_distinct_titles(dkn):
    reading = Impressions(path=dkn).read()
    assert columns(reading.interactions, "user_id", "item_id", "action", "clicked", "part", "line") == [
        ("0", "n00001", "click", 1, "train", 1),
        ("0", "n00002", "skip", 0, "train", 2),
        ("1", "n00001", "skip", 0, "train", 3),
        ("1", "n00003", "click", 1, "train", 4),
        ("2", "n00004", "click", 1, "train", 6),
        ("0", "n00005", "click", 1, "test", 1),
        ("1", "n00002", "skip", 0, "test", 2),
    ]
    assert columns(reading.items, "item_id", "title", "entities")[1:3] == [
        ("n00002", "game night", ["The Game", "Night"]),
        ("n00003", "rain", []),
    ]
    assert [(row["line"], row["reason"]) for row in reading.rejected] == [(5, "label is neither 0 nor 1 ('maybe')")]


def test_dkn_keeps_its_test_and_draws_its_validation(dkn):
    data = prepared(Impressions(path=dkn))
    assert data.manifest["counts"]["parts"] == {"train": 3, "valid": 2, "test": 2}
    log = Log.of(data)
    assert Label.parse("clicked == 1").evaluate(log).sum() == 4


def test_dkn_titles_are_texts_of_their_own_with_the_names_found_in_them(dkn):
    data = prepared(Impressions(path=dkn, rows="titles"))
    found = columns(data.interactions, "user_id", "title", "spans", "entities")
    assert found[:2] == [
        ("r000001", "tom cruise film opens", ["0:10:entity"], ["Tom Cruise"]),
        ("r000002", "game night", ["5:10:entity"], ["The Game", "Night"]),
    ]
    assert found[4] == ("r000005", "snow in oslo", ["8:12:entity"], ["Oslo"])
    assert data.manifest["counts"]["parts"]["test"] == 1


# MIND


def entity(label: str, kind: str, *surfaces: str) -> dict[str, object]:
    return {"Label": label, "Type": kind, "WikidataId": "Q1", "Confidence": 1.0, "OccurrenceOffsets": [0],
            "SurfaceForms": list(surfaces)}  # fmt: skip


def mind_news(number: int, title: str, entities: object = ()) -> str:
    cells = [
        f"N{number}",
        "sports",
        "golf",
        title,
        "An abstract",
        f"https://x/{number}",
        json.dumps(list(entities)),
        "[]",
    ]  # type: ignore[call-overload]
    return "\t".join(cells) + "\n"


@pytest.fixture
def mind(tmp_path: Path) -> Path:
    woods = [entity("Tiger Woods", "P", "Tiger Woods", "Woods"), entity("United States", "G", "U.S.")]
    news = {
        "train": mind_news(1, "Tiger Woods wins U.S. title", woods) + mind_news(2, "Rain") + mind_news(3, 'A "quote'),
        "dev": mind_news(1, "Tiger Woods wins U.S. title", woods) + mind_news(4, "Later"),
    }
    logs = {
        "train": "1\tU1\t11/11/2019 9:05:58 AM\tN3 N2\tN1-1 N2-0\n2\tU1\t11/12/2019 6:11:30 PM\tN3 N2\tN3-0 N2-1\n"
        "3\tU2\t11/13/2019 6:11:30 AM\t\tN1-1 N3-0\n4\tU2\t2019-11-14\t\tN1-1\n",
        "dev": "1\tU1\t11/15/2019 12:00:00 AM\tN3 N2\tN4-1 N1-0\n2\tU3\t11/15/2019 1:00:00 AM\tN1\tN4-0 N2-1\n"
        "3\tU3\t11/15/2019 2:00:00 AM\tN1\tN4 N2\n",
    }
    for part, log in logs.items():
        folder = tmp_path / f"MINDsmall_{part}"
        folder.mkdir()
        (folder / "behaviors.tsv").write_text(log)
        (folder / "news.tsv").write_text(news[part])
    return tmp_path


def test_mind_gives_impressions_and_what_was_clicked_before(mind):
    reader = Impressions(layout="mind", path=mind)
    assert [path.name for path in reader.files()] == ["behaviors.tsv", "behaviors.tsv", "news.tsv", "news.tsv"]
    reading = reader.read()
    names = ("user_id", "item_id", "action", "clicked", "impression_id", "part")
    log = columns(reading.interactions, *names)
    assert log[:4] == [
        ("U1", "N3", "click", None, None, "train"),
        ("U1", "N2", "click", None, None, "train"),
        ("U1", "N1", "click", 1, "train-1", "train"),
        ("U1", "N2", "skip", 0, "train-1", "train"),
    ]
    assert log[8:] == [
        ("U1", "N4", "click", 1, "test-1", "test"),
        ("U1", "N1", "skip", 0, "test-1", "test"),
        ("U3", "N1", "click", None, None, "train"),
        ("U3", "N4", "skip", 0, "test-2", "test"),
        ("U3", "N2", "click", 1, "test-2", "test"),
    ]
    times = reading.interactions["timestamp"].to_pylist()
    assert times[0] is None
    assert times[4] == datetime(2019, 11, 12, 18, 11, 30, tzinfo=UTC).timestamp()
    reasons = [(str(row["reason"]).split(" (")[0].partition(",")[0], row["line"]) for row in reading.rejected]
    assert reasons == [
        ("time is not like 11/15/2019 9:55:12 AM", 4),
        ("an item was shown without -0 or -1", 3),
    ]
    assert columns(reading.items, "item_id", "title", "category", "categories", "entities")[0] == (
        "N1", "Tiger Woods wins U.S. title", "sports", ["sports", "golf"], ["Tiger Woods", "Woods", "U.S."],
    )  # fmt: skip


def test_mind_validates_on_the_latest_whole_impressions_of_its_training_log(mind):
    data = prepared(Impressions(layout="mind", path=mind))
    parts = columns(data.interactions, "impression_id", "part")
    assert {number: part for number, part in parts if number} == {
        "train-1": "train", "train-2": "valid", "train-3": "valid", "test-1": "test", "test-2": "test",
    }  # fmt: skip
    assert {part for number, part in parts if not number} == {"train"}


def test_mind_titles_have_spans_of_several_types(mind):
    log = Impressions(layout="mind", path=mind, rows="titles").read().interactions
    assert columns(log, "title", "spans", "category", "part")[0] == (
        "Tiger Woods wins U.S. title", ["0:11:P", "17:21:G"], "sports", "train",
    )  # fmt: skip
    assert log["part"].to_pylist() == ["train", "train", "train", "test"]


def test_one_folder_of_mind_has_no_parts(mind):
    reading = Impressions(layout="mind", path=mind / "MINDsmall_train").read()
    assert set(reading.interactions["part"].to_pylist()) == {None}
    assert reading.interactions["impression_id"].to_pylist()[2] == "log-1"


def test_news_without_titles_or_with_broken_entities_are_rejected(mind):
    folder = mind / "MINDsmall_train"
    broken = mind_news(5, "Broken").replace("[]\t[]", "[{\t[]")
    (folder / "news.tsv").write_text(mind_news(1, " ") + broken)
    reading = Impressions(layout="mind", path=folder, rows="titles").read()
    assert [(row["line"], row["reason"]) for row in reading.rejected[-2:]] == [
        (2, "the title's entities are not MIND's JSON"),
        (1, "no title"),
    ]


# EB-NeRD


@pytest.fixture
def ebnerd(tmp_path: Path) -> Path:
    when = [datetime(2023, 5, 18, 8, minute) for minute in range(9)]

    def shown(number: int, user: int, minute: int, inview: list[int], clicked: list[int]) -> dict[str, object]:
        return {"impression_id": number, "user_id": user, "impression_time": when[minute], "read_time": 99.0,
                "scroll_percentage": 98.0, "article_ids_inview": inview, "article_ids_clicked": clicked,
                "next_read_time": 8.0, "next_scroll_percentage": 30.0, "gender": 1, "age": None, "postcode": None,
                "is_subscriber": user == 1}  # fmt: skip

    def past(user: int, articles: list[int]) -> dict[str, object]:
        n = len(articles)
        return {"user_id": user, "impression_time_fixed": when[:n], "scroll_percentage_fixed": [None] * n,
                "article_id_fixed": articles, "read_time_fixed": [float(a) for a in articles]}  # fmt: skip

    tables = {
        "train/behaviors": [shown(7, 1, 3, [10, 11], [11]), shown(8, 1, 4, [10, 12, 13], [10, 12]),
                            shown(9, 2, 5, [11, 12], [11])],
        "train/history": [past(1, [13, 14]), past(2, [14])],
        "validation/behaviors": [shown(20, 1, 7, [13, 10], [13]), shown(21, 3, 8, [10, 14], [14])],
        "validation/history": [past(1, [13, 14, 11]), past(3, [12])],
        "articles": [{"article_id": 10 + i, "title": f"Nyt om Anna {i}", "subtitle": "s", "body": "b",
                      "category_str": "sport", "topics": ["sport", "bold"], "ner_clusters": ["Anna", "Oslo"],
                      "entity_groups": ["PER", "LOC"]} for i in range(5)],
    }  # fmt: skip
    for name, rows in tables.items():
        path = tmp_path / f"{name}.parquet"
        path.parent.mkdir(exist_ok=True)
        pq.write_table(pa.Table.from_pylist(rows), path)
    return tmp_path


def test_ebnerd_gives_read_time_of_single_clicks_and_each_past_click_once(ebnerd):
    reading = Impressions(layout="ebnerd", path=ebnerd).read()
    log = columns(
        reading.interactions, "user_id", "item_id", "clicked", "read_time", "scroll_percentage", "impression_id", "part"
    )
    assert log[:5] == [
        ("1", "13", None, 13.0, None, None, "train"),
        ("1", "14", None, 14.0, None, None, "train"),
        ("2", "14", None, 14.0, None, None, "train"),
        ("1", "10", 0, None, None, "train-7", "train"),
        ("1", "11", 1, 8.0, 30.0, "train-7", "train"),
    ]
    assert [row[2:4] for row in log[5:8]] == [(1, None), (1, None), (0, None)]
    assert [row[:2] for row in log if row[2] is None] == [("1", "13"), ("1", "14"), ("2", "14"), ("3", "12")]
    assert columns(reading.users, "user_id", "gender", "is_subscriber") == [
        ("1", 1, True), ("2", 1, False), ("3", 1, False),
    ]  # fmt: skip
    assert columns(reading.items, "item_id", "abstract", "categories", "entities")[0] == (
        "10", "s", ["sport", "bold"], ["Anna", "Oslo"],
    )  # fmt: skip
    data = prepared(Impressions(layout="ebnerd", path=ebnerd))
    assert data.manifest["counts"]["rejected"] == 0
    assert np.isnan(Log.of(data).columns["read_time"]).sum() == 7


def test_ebnerd_without_articles_has_no_titles_to_read(ebnerd):
    (ebnerd / "articles.parquet").unlink()
    assert Impressions(layout="ebnerd", path=ebnerd).read().items is None
    with pytest.raises(DataError, match=r"rows: titles needs articles\.parquet"):
        Impressions(layout="ebnerd", path=ebnerd, rows="titles").read()


def test_ebnerd_titles_have_the_names_that_stand_in_them(ebnerd):
    reading = Impressions(layout="ebnerd", path=ebnerd / "train", rows="titles").read()
    assert columns(reading.interactions, "title", "spans")[0] == ("Nyt om Anna 0", ["7:11:PER"])


# What is not there


@pytest.mark.parametrize("layout", ["dkn", "mind", "ebnerd"])
def test_a_folder_without_the_files_is_named(tmp_path, monkeypatch, layout):
    monkeypatch.setenv("GENRE_DATA", str(tmp_path))
    with pytest.raises(DataError, match=rf"layout '{layout}': looked for \w+\.\w+ in .*data\.reader\.path"):
        Impressions(layout=layout).files()


def test_a_file_missing_beside_a_log_is_named(mind, ebnerd):
    (mind / "MINDsmall_dev" / "news.tsv").unlink()
    with pytest.raises(DataError, match=r"there is no news\.tsv beside behaviors\.tsv"):
        Impressions(layout="mind", path=mind).files()
    pq.write_table(pa.table({"user_id": [1]}), ebnerd / "train" / "behaviors.parquet")
    with pytest.raises(DataError, match=r"no column 'impression_id'.*check data\.reader\.layout"):
        Impressions(layout="ebnerd", path=ebnerd).read()


# Validation rows where the source names none


def drawn(n: int, time: list[float], impression: list[int], seed: int = 0, valid: float = 0.3) -> np.ndarray:
    zeros = np.zeros(n, dtype=np.int32)
    part = np.where(np.arange(n) < n - 2, 0, PARTS.index("test")).astype(np.int8)
    log = Log(zeros, zeros, zeros, zeros.astype(np.float32), np.array(time), np.array(impression, dtype=np.int32),
              part, 1, 1, ("click",))  # fmt: skip
    return np.flatnonzero(Given(valid=valid).assign(log, seed)[0] == PARTS.index("valid"))


def test_given_draws_validation_by_time_by_chance_and_in_whole_impressions():
    nothing = [float("nan")] * 12
    assert drawn(12, list(range(12)), [-1] * 12).tolist() == [7, 8, 9]
    by_chance = drawn(12, nothing, [-1] * 12)
    assert len(by_chance) == 3
    assert by_chance.max() < 10
    assert any(drawn(12, nothing, [-1] * 12, seed).tolist() != by_chance.tolist() for seed in range(1, 5))
    for seed in range(5):
        together = drawn(12, nothing, [i // 4 for i in range(12)], seed).tolist()
        whole = [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
        assert together == [row for rows in whole if rows[0] in together for row in rows]
        assert len(together) >= 3
    assert drawn(12, list(range(12)), [i // 4 for i in range(12)], valid=0.2).tolist() == [8, 9]


@pytest.mark.data
def test_the_real_samples(real_data):
    dkn = Impressions(path=real_data / "dkn-bing-news-sample").read()
    assert dkn.items is not None
    assert (dkn.interactions.num_rows, dkn.items.num_rows, len(dkn.rejected)) == (10_863, 9_075, 0)
    ebnerd = Impressions(layout="ebnerd", path=real_data / "ebnerd-official-test-sample").read()
    clicked = ebnerd.interactions["clicked"].to_pylist()
    assert clicked.count(None) == 8_303
    assert len(clicked) - clicked.count(None) == 10_848
