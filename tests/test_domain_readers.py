"""Readers of the sets of a domain: films with texts, music, papers, a company's articles, news; and where they lie."""

from __future__ import annotations

import gzip
import json
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genre.config import DataSection
from genre.configfile import load
from genre.data import Dataset, Histories, Log
from genre.datasets.citeulike import CiteULike
from genre.datasets.deskdrop import Deskdrop
from genre.datasets.impressions import Impressions
from genre.datasets.lastfm import LastFM
from genre.datasets.movielens import MovieLens
from genre.datasets.sequences import Sequences
from genre.errors import DataError
from genre.labels import Label
from genre.places import located, member, members
from genre.prepare import build
from genre.tagging import by_use, readable
from toyworld import config, tiny_backbone

CONFIGS = Path(__file__).parents[1] / "configs"


def prepared(reader: Any, split: Any = "last", ties: Any = "file") -> Dataset:
    section = DataSection(reader=reader, split=split, ties=ties, max_rejected=1.0)
    return build(section.reader.read(), section, 7)


def rejections(rows: list[dict[str, Any]]) -> list[tuple[str, int, str]]:
    """File, line and reason of each."""
    return [(Path(str(row["file"])).name, int(row["line"]), str(row["reason"])) for row in rows]


def written(folder: Path, texts: dict[str, str], encoding: str = "utf-8") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        (folder / name).write_bytes(text.encode(encoding))
    return folder


# Where they lie


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of data sets with nothing in it, and a working directory and a cache elsewhere."""
    for name in ("here", "cache", "data"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("GENRE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("GENRE_DATA", str(tmp_path / "data"))
    return tmp_path / "data"


def test_the_working_directory_comes_before_the_cache_and_that_before_the_data_folder(empty):
    wanted = Path("set", "log.tsv")
    for home in (empty, empty.parent / "cache" / "data", Path()):
        written(home / "set", {"log.tsv": ""})
        assert located(wanted, "data.reader.path").resolve() == (home / wanted).resolve()


def test_a_file_may_be_gzipped_and_one_that_is_missing_is_named_with_its_folder(empty):
    written(empty / "set", {"a.dat": "", "b.dat.gz": ""})
    assert members(None, "set", ["a.dat", "b.dat"], "there") == {
        "a.dat": empty / "set" / "a.dat",
        "b.dat": empty / "set" / "b.dat.gz",
    }
    assert member(empty / "set", "c.dat") is None
    with pytest.raises(DataError, match=r"no c\.dat \(or the same with \.gz\) in \S+data/set; fetch it from there, or"):
        members(None, "set", ["a.dat", "c.dat"], "there")
    with pytest.raises(DataError, match=r"no a\.dat, b\.dat .* in else or \S+else or \S+else; .*data\.reader\.path"):
        members(Path("else"), "set", ["a.dat", "b.dat"], "there")


def test_sequences_are_found_below_the_data_folder(empty):
    written(empty / "shop", {"s.tsv": "user\titems\na\t1 2 3\nb\t2 3\n", "i.tsv": "item_id\ttitle\n1\tone\n"})
    reading = Sequences(path=Path("shop/s.tsv"), items=Path("shop/i.tsv")).read()
    assert reading.interactions.num_rows == 5
    with pytest.raises(DataError, match=r"data\.reader\.items: there is no shop/j\.tsv nor .*fetch it"):
        Sequences(path=Path("shop/s.tsv"), items=Path("shop/j.tsv")).files()


# Tags


def test_tags_given_most_often_come_first_and_then_those_used_most():
    items = ["x", "x", "x", "x", "y", "y"]
    tags = ["pop", "rock", "rock", "art", "art", "rock"]
    assert by_use(items, tags) == {"x": ["rock", "art", "pop"], "y": ["rock", "art"]}


@given(st.lists(st.tuples(st.sampled_from("xyz"), st.sampled_from("abcd"))))
def test_every_tag_is_there_once_and_none_before_one_given_more_often(pairs):
    found = by_use([item for item, _ in pairs], [tag for _, tag in pairs])
    assert {(item, tag) for item, tags in found.items() for tag in tags} == set(pairs)
    for item, tags in found.items():
        counts = [pairs.count((item, tag)) for tag in tags]
        assert counts == sorted(counts, reverse=True)
        assert len(set(tags)) == len(tags)


def test_spellings_of_a_tag_are_read_once():
    assert (
        readable(["systems_biology", "Systems-Biology", "to--read", "__", "café"]) == "systems biology, to read, café"
    )


# Films


@pytest.fixture
def films(tmp_path: Path) -> Path:
    folder = tmp_path / "movielens-latest-small"
    tmdb = [
        '"[{""id"": 1, ""name"": ""toy""}, {""id"": 2, ""name"": ""friend""}]",862,Toys live.,To infinity',
        "no json,10,Lost,",
        "[],99,Of no film here,",
    ]
    texts = {
        "ratings.csv": "userId,movieId,rating,timestamp\n1,1,4.5,100\n1,2,3,200\n1,3,5,300\n2,2,oops,50\n2,1,1,60\n",
        "movies.csv": "movieId,title,genres\n1,Toy Story (1995),Animation\n2,Heat (1995),Crime\n3,Odd,(no genres)\n",
        "tags.csv": "userId,movieId,tag,timestamp\n1,1,pixar,1\n2,1,Fun,2\n3,1,Fun,3\n1,7,lost,4\n1,2\n",
        "links.csv": "movieId,imdbId,tmdbId\n1,0114709,862\n2,0113277,10\n3,0000001,\n",
        "tmdb.csv": "keywords,id,overview,tagline\n" + "\n".join(tmdb) + "\n",
    }
    return written(folder, texts)


def small(folder: Path, **settings: Any) -> MovieLens:
    return MovieLens(version="latest-small", path=folder, **settings)


def test_films_get_tags_and_the_texts_that_their_links_lead_to(films):
    reading = small(films, tmdb=films / "tmdb.csv").read()
    assert reading.items is not None
    items = reading.items.to_pylist()
    names = ("title", "tag_list", "tags", "overview", "tagline", "keywords")
    assert [tuple(item[name] for name in names) for item in items] == [
        ("Toy Story", ["Fun", "pixar"], "fun, pixar", "Toys live.", "To infinity", ["toy", "friend"]),
        ("Heat", [], "", "", "", []),
        ("Odd", [], "", "", "", []),
    ]
    assert rejections(reading.rejected) == [
        ("tags.csv", 6, "has 2 fields where 4 are expected"),
        ("tags.csv", 5, "the film is not in movies.csv (7)"),
        ("tmdb.csv", 3, "keywords are not TMDB's JSON"),
    ]
    assert "TMDB" in reading.licence
    assert {path.name for path in small(films, tmdb=films / "tmdb.csv").files()} == {
        *("ratings.csv", "movies.csv", "tags.csv", "links.csv", "tmdb.csv")
    }


def test_films_without_the_table_have_no_such_columns_and_say_nothing_of_tmdb(films):
    reading = small(films).read()
    assert reading.items is not None
    assert reading.items.column_names == ["item_id", "file", "line", "title", "year", "categories", "tag_list", "tags"]
    assert "TMDB" not in reading.licence
    (films / "tags.csv").unlink()
    bare = small(films).read().items
    assert bare is not None
    assert "tags" not in bare.column_names


def test_a_rating_that_is_no_number_is_rejected_where_it_stands(films):
    data = prepared(small(films))
    assert ("ratings.csv", 5, "value is not a finite number ('oops')") in rejections(data.rejected.to_pylist())
    assert data.items.schema.field("tag_list").type == pa.list_(pa.string())


def test_a_tmdb_table_that_cannot_be_joined_is_named(films):
    with pytest.raises(DataError, match=r"data\.reader\.tmdb: there is no \S*absent\.csv"):
        small(films, tmdb=films / "absent.csv").read()
    with pytest.raises(DataError, match=r"movies\.csv: no column 'id'.*set data\.reader\.tmdb to tmdb_5000_movies"):
        small(films, tmdb=films / "movies.csv").read()
    (films / "links.csv").unlink()
    with pytest.raises(DataError, match=r"data\.reader\.tmdb needs links\.csv"):
        small(films, tmdb=films / "tmdb.csv").files()
    written(films, dict.fromkeys(("u.data", "u.item", "u.user"), ""))
    with pytest.raises(DataError, match=r"100k has no links to TMDB; set version: latest-small"):
        MovieLens(path=films, tmdb=films / "tmdb.csv").files()


# Music


PLAYS = "userID\tartistID\tweight\n2\t51\t99\n2\t52\t9\n3\t51\t6\n3\t53\t1\n3\t52\t4\n8\t51\t-\n2\t51\t-1\n"
TAGGED = """userID artistID tagID day month year
2 51 1 1 4 2009
3 51 2 1 4 2009
4 51 2 1 4 2009
2 99 1 1 4 2009
2 52 7 1 4 2009
2 52
"""


@pytest.fixture
def music(tmp_path: Path) -> Path:
    texts = {
        "artists.dat": "id\tname\turl\tpictureURL\n51\tDuran Duran\tu\tp\n52\tMorcheeba\tu\tp\n53\tÄrzte\tu\tp\n",
        "user_artists.dat": PLAYS.replace("\n", "\r\n"),
        "user_taggedartists.dat": TAGGED.replace(" ", "\t"),
        "user_friends.dat": "userID\tfriendID\n2\t3\n3\t2\n2\t8\n",
    }
    written(tmp_path, texts)
    return written(tmp_path, {"tags.dat": "tagID\ttagValue\r\n1\tnew_wave\r\n2\tfrançais\r\n"}, "latin-1")


def test_music_has_plays_tags_and_friends(music):
    reading = LastFM(path=music).read()
    log = reading.interactions.select(["user_id", "item_id", "action", "value", "plays"]).to_pylist()
    assert log[0] == {"user_id": "2", "item_id": "51", "action": "listen", "value": 99, "plays": 99}
    assert reading.items is not None
    assert reading.users is not None
    assert reading.items.select(["item_id", "title", "tag_list", "tags"]).to_pylist() == [
        {"item_id": "51", "title": "Duran Duran", "tag_list": ["français", "new_wave"], "tags": "français, new wave"},
        {"item_id": "52", "title": "Morcheeba", "tag_list": [], "tags": ""},
        {"item_id": "53", "title": "Ärzte", "tag_list": [], "tags": ""},
    ]
    assert reading.users.to_pylist() == [{"user_id": "2", "friends": ["3"]}, {"user_id": "3", "friends": ["2"]}]
    assert rejections(reading.rejected) == [
        ("user_taggedartists.dat", 7, "has 2 fields where 6 are expected"),
        ("user_artists.dat", 7, "weight is not a number of plays ('-')"),
        ("user_artists.dat", 8, "weight is not a number of plays ('-1')"),
        ("user_taggedartists.dat", 5, "the artist is not in artists.dat (99)"),
        ("user_taggedartists.dat", 6, "the tag is not in tags.dat (7)"),
        ("user_friends.dat", 4, "the person played nothing (8)"),
    ]


def test_plays_in_a_logarithm_keep_the_counts_beside_them(music):
    data = prepared(LastFM(path=music, log=True))
    log = Log.of(data)
    np.testing.assert_allclose(log.value, np.log1p(log.columns["plays"]), rtol=1e-5)
    assert sorted(log.columns["plays"]) == [1, 4, 6, 9, 99]
    assert data.users["friends"].to_pylist() == [["3"], ["2"]]


def colakg(folder: Path, prefix: str = "colakg_") -> Path:
    texts = {
        "train.txt": "0 0 1\n1 1\n",
        "test.txt": "0\n1 2 0 5\n",
        "user_map.txt": "2 0\n3 1\n",
        "item_map.txt": "51 0\n52 1\n53 2\n",
        "llm_response_item.json": json.dumps({"0": "A band. ", "9": "nobody"}),
    }
    return written(folder, {prefix + name: text for name, text in texts.items()})


@pytest.mark.parametrize("prefix", ["colakg_", ""])
def test_the_parts_of_colakg_are_the_part_column(music, prefix):
    reading = LastFM(path=colakg(music, prefix), rows="colakg").read()
    names = ["user_id", "item_id", "plays", "part", "line"]
    assert [tuple(row.values()) for row in reading.interactions.select(names).to_pylist()] == [
        ("2", "51", 99, "train", 1),
        ("2", "52", 9, "train", 1),
        ("3", "52", 4, "train", 2),
        ("3", "53", 1, "test", 2),
        ("3", "51", 6, "test", 2),
    ]
    assert reading.items is not None
    assert reading.items["description"].to_pylist() == ["A band.", "", ""]
    assert (f"{prefix}test.txt", 2, "the maps do not know this person or artist") in rejections(reading.rejected)


def test_colakg_leaves_out_artists_that_it_does_not_know_and_pairs_that_nobody_played(music):
    colakg(music)
    written(music, {"colakg_item_map.txt": "51 0\n53 1\n", "colakg_test.txt": "0 1\n"})
    reading = LastFM(path=music, rows="colakg").read()
    assert reading.items is not None
    assert reading.items["item_id"].to_pylist() == ["51", "53"]
    assert ("colakg_test.txt", 1, "the pair is not in user_artists.dat") in rejections(reading.rejected)


def test_files_of_colakg_that_are_missing_or_broken_are_named(music):
    with pytest.raises(DataError, match=r"needs train\.txt, test\.txt, user_map\.txt, item_map\.txt.*set rows: all"):
        LastFM(path=music, rows="colakg").files()
    (colakg(music) / "colakg_llm_response_item.json").write_text("{")
    with pytest.raises(DataError, match=r"llm_response_item\.json: not JSON"):
        LastFM(path=music, rows="colakg").read()
    (music / "artists.dat").write_text("nothing\there\n")
    with pytest.raises(DataError, match=r"artists\.dat: no column 'id'.*fetch the file again"):
        LastFM(path=music).read()


# Papers


@pytest.fixture
def papers(tmp_path: Path) -> Path:
    texts = {
        "users.dat": "3 0 1 2\n2 1 9\n5 1 2\n2 2 0\n1 x\n\n",
        "item-tag.dat": "2 0 1\n3 1 2 8\n0\n",
        "tags.dat": "small-world\nnetworks\nsmall_world\n",
        "citations.dat": "1 1\n2 0 7\n0\n",
    }
    return written(tmp_path, texts)


def test_papers_have_tags_and_citations(papers):
    reading = CiteULike(path=papers).read()
    log = reading.interactions.select(["user_id", "item_id", "action"]).to_pylist()
    assert [(row["user_id"], row["item_id"]) for row in log] == [
        ("0", "0"), ("0", "1"), ("0", "2"), ("1", "1"), ("1", "9"), ("3", "2"), ("3", "0")
    ]  # fmt: skip
    assert {row["action"] for row in log} == {"save"}
    assert reading.items is not None
    assert reading.items.select(["item_id", "tag_list", "tags", "cites", "title"]).to_pylist() == [
        {"item_id": "0", "tag_list": ["networks", "small-world"], "tags": "networks, small world", "cites": ["1"],
         "title": ""},
        {"item_id": "1", "tag_list": ["networks", "small_world"], "tags": "networks, small world", "cites": ["0"],
         "title": ""},
        {"item_id": "2", "tag_list": [], "tags": "", "cites": [], "title": ""},
    ]  # fmt: skip
    assert rejections(reading.rejected) == [
        ("users.dat", 3, "begins with another number than how many follow (5, 2)"),
        ("users.dat", 5, "holds something that is no number"),
        ("users.dat", 6, "holds something that is no number"),
        ("item-tag.dat", 2, "the tag is not in tags.dat (8)"),
        ("citations.dat", 2, "the paper is not in item-tag.dat (7)"),
    ]


def test_a_paper_that_no_line_describes_is_rejected_and_lists_survive_preparing(papers, tmp_path):
    data = prepared(CiteULike(path=papers))
    assert ("users.dat", 2, "item is not in the items table ('9')") in rejections(data.rejected.to_pylist())
    data.save(tmp_path / "run")
    items = Dataset.load(tmp_path / "run").items
    assert items.schema.field("cites").type == items.schema.field("tag_list").type == pa.list_(pa.string())
    assert items["cites"].to_pylist() == [["1"], ["0"], []]


def test_titles_and_abstracts_of_papers_are_read_where_they_are(papers):
    head = '"doc.id","title","citeulike.id","raw.title","raw.abstract"\n'
    text = (
        head + '"1","t","42","Schrödinger\'s ""cat""","It is\nalive."\n"9","t","43","Lost","x"\n"2","t","44","Two",""\n'
    )
    (papers / "raw-data.csv.gz").write_bytes(gzip.compress(text.encode("latin-1")))
    reader = CiteULike(path=papers)
    assert papers / "raw-data.csv.gz" in reader.files()
    reading = reader.read()
    assert reading.items is not None
    assert reading.items["title"].to_pylist() == ['Schrödinger\'s "cat"', "Two", ""]
    assert reading.items["abstract"].to_pylist() == ["It is\nalive.", "", ""]
    assert ("raw-data.csv", 4, "doc.id is not a paper from 1 to 3 ('9')") in [
        (file.removesuffix(".gz"), line, reason) for file, line, reason in rejections(reading.rejected)
    ]


# A company's articles


DESKDROP = """timestamp,eventType,contentId,personId,sessionId,userAgent,userRegion,userCountry
100,VIEW,-3,7,1,,SP,BR
101,LIKE,-3,7,1,,SP,BR
102,BOOKMARK,5,7,1,,NY,US
103,COMMENT CREATED,5,8,2,,?,US
104,FOLLOW,-3,8,2,,,
105,VIEW,6,8,2,,,
105,VIEW,6,8,2,,,
106,SHARED,6,8,2,,,
107,VIEW
soon,VIEW,6,7,2,,,
108,VIEW,6,9,3,,,
"""
ARTICLES = """timestamp,eventType,contentId,authorPersonId,contentType,url,title,text,lang
1,CONTENT SHARED,-3,1,HTML,u,Ethereum,"A long
text",en
2,CONTENT REMOVED,-3,1,HTML,u,Gone,no,en
3,CONTENT SHARED,4,1,HTML,u,Unread,nobody read this,pt
"""
EVENTS = "VIEW, LIKE, BOOKMARK, COMMENT CREATED, FOLLOW"


@pytest.fixture
def desk(tmp_path: Path) -> Path:
    return written(tmp_path, {"users_interactions.csv": DESKDROP})


def test_deskdrop_has_five_actions_and_the_place_of_each_event(desk):
    data = prepared(Deskdrop(path=desk))
    assert data.manifest["counts"]["actions"] == {"view": 3, "like": 1, "bookmark": 1, "comment": 1, "follow": 1}
    assert data.interactions.schema.names[-2:] == ["country", "region"]
    assert data.users.to_pylist() == [
        {"user_id": "7", "country": "BR", "region": "SP"},
        {"user_id": "8", "country": "US", "region": None},
        {"user_id": "9", "country": None, "region": None},
    ]
    assert sorted(rejections(data.rejected.to_pylist())) == [
        ("users_interactions.csv", 8, "is an earlier row again (same user, item, action and time)"),
        ("users_interactions.csv", 9, f"eventType is none of {EVENTS} ('SHARED')"),
        ("users_interactions.csv", 10, "has 2 fields where 8 are expected"),
        ("users_interactions.csv", 11, "timestamp is neither seconds nor ISO 8601 ('soon')"),
    ]


def test_deskdrop_with_its_articles_keeps_those_that_it_says_nothing_of(desk):
    bare = prepared(Deskdrop(path=desk))
    assert bare.items.select(["item_id", "title", "text"]).to_pylist()[0] == {
        "item_id": "-3",
        "title": "",
        "text": None,
    }
    written(desk, {"shared_articles.csv": ARTICLES})
    data = prepared(Deskdrop(path=desk))
    assert data.items.to_pylist() == [
        {"item_id": "-3", "title": "Ethereum", "text": "A long\ntext", "language": "en"},
        {"item_id": "4", "title": "Unread", "text": "nobody read this", "language": "pt"},
        {"item_id": "5", "title": "", "text": None, "language": None},
        {"item_id": "6", "title": "", "text": None, "language": None},
    ]
    assert data.interactions.num_rows == bare.interactions.num_rows


def test_an_action_that_no_head_names_makes_histories_and_is_what_comes_next(desk):
    log = Log.of(prepared(Deskdrop(path=desk)))
    assert log.positive.all()
    assert Histories.of(log).lengths.tolist() == [3, 3, 1]
    likes = Label.parse("action == 'like'").evaluate(log)
    assert likes.sum() == 1
    assert len(likes) == len(log) == 7
    with pytest.raises(DataError, match=r"no action 'share' in the data"):
        Label.parse("action == 'share'").evaluate(log)


def test_a_model_of_texts_is_refused_where_no_item_has_one(desk, tmp_path, monkeypatch):
    from genre.run import Run
    from genre.train import train

    monkeypatch.setenv("GENRE_CACHE", str(tmp_path / "cache"))
    conf = config(
        tiny_backbone(tmp_path / "bert"), model={"template": "{title}. {text}", "heads": {"next": "next_item"}}
    )
    run = Run.create(conf, tmp_path / "run")
    prepared(Deskdrop(path=desk)).save(run.path("data"))
    with pytest.raises(DataError, match=r"'\{title\}\. \{text\}' leaves every item without text.*model\.text: false"):
        train(conf, run)


# News


def test_broken_rows_of_ebnerd_are_rejected_where_they_stand(tmp_path):
    when = datetime(2023, 5, 18, 8)
    shown = {"user_id": 1, "impression_time": when, "next_read_time": 8.0, "next_scroll_percentage": 30.0}
    rows = [([10, 11], [11]), ([10, 12], None), ([10, 12], [99]), ([12, 13], [12])]
    lists = [{"article_ids_inview": a, "article_ids_clicked": b, "impression_id": i} for i, (a, b) in enumerate(rows)]
    pq.write_table(pa.Table.from_pylist([shown | one for one in lists]), tmp_path / "behaviors.parquet")
    past = [(1, [13, 14], 2), (2, [13, 14], 1), (3, None, 1)]
    pasts = [
        {"user_id": user, "article_id_fixed": articles, "impression_time_fixed": [when] * n}
        | {"read_time_fixed": [1.0] * n, "scroll_percentage_fixed": [2.0] * n}
        for user, articles, n in past
    ]
    pq.write_table(pa.Table.from_pylist(pasts), tmp_path / "history.parquet")
    reading = Impressions(layout="ebnerd", path=tmp_path).read()
    assert reading.interactions["item_id"].to_pylist() == ["13", "14", "10", "11", "12", "13"]
    unequal = "articles, times, read times and scrolls of the history are not of one length"
    assert rejections(reading.rejected) == [
        ("history.parquet", 2, unequal),
        ("history.parquet", 3, unequal),
        ("behaviors.parquet", 2, "no list of what was shown or clicked, as in the test set without labels"),
        ("behaviors.parquet", 3, "an article was clicked that was not shown"),
    ]


def test_news_is_found_below_the_data_folder(empty):
    with pytest.raises(DataError, match=r"looked for raw_train\.tsv in \S+data/mine and"):
        Impressions(path=Path("mine")).files()
    written(empty / "mine", {"raw_train.tsv": "0\train\t1\t\n"})
    assert Impressions(path=Path("mine")).read().interactions.num_rows == 1


# Real data


COUNTS = {
    "video_games": (50_546, 16_859, 440_264, 0),
    "movielens_small": (610, 9_742, 100_836, 0),
    "lastfm": (1_892, 17_632, 92_834, 1_538),
    "citeulike": (5_551, 16_980, 204_986, 0),
    "deskdrop": (1_895, 2_987, 70_028, 2_284),
    "dkn_news": (469, 9_075, 10_863, 0),
    "ebnerd": (44, 3_376, 19_150, 1),
}


@pytest.mark.data
@pytest.mark.parametrize("name", COUNTS)
def test_every_configuration_of_a_domain_prepares_its_real_data(name: str, real_data: Path, monkeypatch):
    monkeypatch.setenv("GENRE_DATA", str(real_data))
    section = load(CONFIGS / f"{name}.yaml").data
    try:
        section.reader.files()
    except DataError as error:
        pytest.skip(str(error))
    data = build(section.reader.read(), section, 7)
    counts = data.manifest["counts"]
    assert tuple(counts[one] for one in ("users", "items", "interactions", "rejected")) == COUNTS[name]


@pytest.mark.data
def test_the_real_texts_of_films_papers_and_artists(real_data: Path, monkeypatch):
    monkeypatch.setenv("GENRE_DATA", str(real_data))
    tmdb = Path("tmdb-5000-movies", "tmdb_5000_movies.csv.gz")
    films = MovieLens(version="latest-small", tmdb=tmdb).read().items
    papers, music = CiteULike().read().items, LastFM(rows="colakg").read()
    assert films is not None
    assert papers is not None
    assert music.items is not None
    assert sum(map(bool, films["overview"].to_pylist())) == 3_537
    assert sum(map(bool, papers["tag_list"].to_pylist())) == 16_980 - 3_461
    assert sum(map(len, papers["cites"].to_pylist())) == 89_418
    assert (music.interactions.num_rows, music.items.num_rows) == (71_294, 2_813)
    assert sum(map(bool, music.items["description"].to_pylist())) == 2_813


@pytest.mark.data
def test_the_skips_of_the_real_dkn_log_stand_before_the_clicks_unless_shuffled(real_data: Path, monkeypatch):
    """Why its configuration says ``ties: shuffle``: as the file stands, who skips has next to no history."""
    monkeypatch.setenv("GENRE_DATA", str(real_data))
    before = {}
    for ties in ("file", "shuffle"):
        log = Log.of(prepared(Impressions(), "given", ties=ties)).parts("train", "valid")
        before[ties] = log.events_before()[~log.positive].mean()
    assert before["file"] < 1
    assert before["shuffle"] > 3
