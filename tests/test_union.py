"""Several datasets in one run: one table out of many, and shares of an epoch by temperature."""

import gzip
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from genre.component import Slot
from genre.config import Config, DataSection
from genre.configfile import load as read_config
from genre.configfile import schema
from genre.data import Dataset
from genre.datasets import Reading
from genre.errors import ConfigError, DataError, GenreError
from genre.prepare import build
from genre.run import Run
from genre.sheets import SheetMaker, evened
from genre.textencoder import load
from genre.train import train
from toyworld import config, dataset, reviews, text_config, tiny_backbone

GAMES = "uid,iid,hours,text,line_no\n1,1,3,red pen,x\n2, 1 ,many,blue pen,y\n,2,5,grey cup,z\n"
CLOTHES = [
    {"id": 1, "stars": 5, "review": "red hat", "kind": "hats"},
    {"id": 2, "stars": 1, "review": "blue hat"},
    {"id": 3, "stars": 3, "review": ""},
]
SPLIT = {"type": "random", "per": "log", "valid": 0.2, "test": 0.2}


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("GENRE_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture(scope="module")
def backbone(tmp_path_factory):
    return tiny_backbone(tmp_path_factory.mktemp("bert"))


@pytest.fixture
def union(tmp_path):
    (tmp_path / "games.csv").write_text(GAMES)
    lines = "\n".join(json.dumps(row) for row in CLOTHES)
    (tmp_path / "clothes.jsonl.gz").write_bytes(gzip.compress(lines.encode()))
    games = {"type": "table", "interactions": tmp_path / "games.csv", "licence": "free"}
    games["columns"] = {"user_id": "uid", "item_id": "iid", "value": "hours"}
    clothes = {"type": "reviews", "path": tmp_path / "clothes.jsonl.gz", "text": ["review"], "item_columns": ["kind"]}
    clothes["columns"] = {"item_id": "id", "value": "stars"}
    return Slot("datasets").build({"type": "union", "readers": {"games": games, "clothes": clothes}})


def test_logs_are_put_below_each_other_under_names_of_their_own(union):
    found: Reading = union.read()
    log = found.interactions.to_pydict()
    assert log["item_id"] == ["games:1", "games:1", "games:2", "clothes:1", "clothes:2"]
    assert log["user_id"] == ["games:1", "games:2", None, "clothes:r000001", "clothes:r000002"]
    assert log["dataset"] == ["games"] * 3 + ["clothes"] * 2
    assert log["value"] == ["3", "many", "5", "5", "1"], "a column that is words in one log is words in all"
    assert log["review"] == [None, None, None, "red hat", "blue hat"]
    assert found.items is not None
    items = {row["item_id"]: row for row in found.items.to_pylist()}
    assert sorted(items) == ["clothes:1", "clothes:2", "games:1", "games:2"]
    assert items["clothes:1"]["kind"] == "hats"
    assert items["games:1"]["kind"] is None
    assert found.name == "games+clothes"
    assert found.licence == "games: free"
    [row] = found.rejected
    assert (row["file"], row["line"]) == (str(union.files()[1]), 3)


def test_what_cannot_be_used_keeps_its_file_and_line(union):
    section = DataSection(reader=union, split={**SPLIT, "valid": 0.3, "test": 0.3}, max_rejected=1.0)
    data = build(union.read(), section, 7)
    places = {
        (row["file"].rpartition("/")[2], row["line"], row["reason"].split(" (")[0]) for row in data.rejected.to_pylist()
    }
    assert ("games.csv", 3, "value is not a finite number") in places
    assert ("games.csv", 4, "no user_id") in places
    assert ("clothes.jsonl.gz", 3, "no text in review") in places
    assert data.interactions["dataset"].to_pylist().count("clothes") == 2


@pytest.mark.parametrize("readers", [{}, {"one": "reviews"}])
def test_one_log_is_no_union(readers):
    with pytest.raises(DataError, match="two logs or more"):
        Slot("datasets").build({"type": "union", "readers": readers}).files()


def test_a_column_that_the_union_fills_is_refused(tmp_path):
    (tmp_path / "a.csv").write_text("user_id,item_id,dataset\n1,2,x\n")
    one = {"type": "table", "interactions": tmp_path / "a.csv"}
    with pytest.raises(DataError, match=r"readers\.a: has a column 'dataset' of its own"):
        Slot("datasets").build({"type": "union", "readers": {"a": one, "b": one}}).read()


def test_a_configuration_names_readers_and_their_mistakes(tmp_path):
    readers = {"a": {"type": "table", "interactions": "a.csv"}, "b": "reviews"}
    conf = Config(data={"reader": {"type": "union", "readers": readers}})
    assert conf.data.reader.readers["a"].interactions.name == "a.csv"
    assert "union" in json.dumps(schema())
    file = tmp_path / "two.yaml"
    file.write_text("data:\n  reader:\n    type: union\n    readers: {a: tabel, b: {type: reviews, txt: [x]}}\n")
    with pytest.raises(ConfigError) as caught:
        read_config(file)
    for part in ("data.reader.readers.a", "did you mean 'table'?", "data.reader.readers.b.txt", "did you mean 'text'?"):
        assert part in str(caught.value)


@pytest.mark.parametrize(("temperature", "expected"), [(1.0, [900, 90, 10]), (2.0, [682, 216, 72]), (1e9, [333] * 3)])
def test_shares_of_an_epoch_follow_the_temperature(temperature, expected):
    source = np.repeat(np.arange(3), [900, 90, 10]).astype(np.int32)
    drawn = evened(source, temperature, np.random.default_rng(0))
    shares = np.array([900, 90, 10]) ** (1 / temperature)
    counts = np.bincount(source[drawn])
    np.testing.assert_allclose(counts, 1000 * shares / shares.sum(), atol=1)
    assert len(drawn) == 1000
    for number, count in enumerate(counts):
        times = np.bincount(drawn, minlength=1000)[source == number]
        assert times.max() - times.min() <= 1, "within a dataset no row is drawn far more often than another"
        assert times.sum() == count


def two(n: int = 240, other: int = 100) -> Reading:
    """Reviews that have stars, and fewer of other texts, which say whether they are recommended."""
    tables = []
    for name, size, seed in (("big", n, 0), ("small", other, 1)):
        table = reviews(size, seed).interactions
        lacking = "recommended" if name == "big" else "value"
        columns = {c: pa.nulls(size, pa.float64()) if c == lacking else table[c] for c in table.column_names}
        columns["user_id"] = pa.array([f"{name}:u{i}" for i in range(size)])
        tables.append(pa.table({**columns, "dataset": [name] * size}))
    return Reading(pa.concat_tables(tables), reviews().items, name="two", source="made", licence="none")


def test_one_run_learns_labels_that_only_one_dataset_has(backbone, tmp_path):
    more = {"warmup_epochs": 20, "epochs": 4, "lr": {"rest": 1e-2}, "temperature": 3.0}
    conf = text_config(backbone, train=more)
    data = dataset(two(), SPLIT)
    run = Run.create(conf, tmp_path)
    data.save(run.path("data"))
    train(conf, run)
    curves = pq.read_table(run.path("model") / "curves.parquet").to_pydict()
    assert curves["valid/stars.rmse"][-1] < 1.0
    assert curves["valid/recommended.label_auc"][-1] > 0.9


def test_epochs_of_a_sheet_are_evened_and_depend_on_the_seed_alone(backbone):
    data = dataset(two(), SPLIT)
    sheet = SheetMaker(text_config(backbone).model, load(text_config(backbone).model.backbone), data, 7).part("train")
    assert sheet.source is not None

    def rows(seed: int, temperature: float | None) -> np.ndarray:
        return np.concatenate(list(sheet.epoch(16, np.random.default_rng(seed), temperature)))

    assert sorted(rows(0, None).tolist()) == list(range(len(sheet)))
    even = np.bincount(sheet.source[rows(0, 1e9)])
    assert even.sum() == len(sheet)
    assert abs(even[0] - even[1]) <= 1
    assert np.array_equal(rows(0, 2.0), rows(0, 2.0))
    assert not np.array_equal(rows(0, 2.0), rows(1, 2.0))


def test_a_temperature_needs_datasets_to_even_out(backbone, tmp_path):
    conf = text_config(backbone, train={"temperature": 2.0})
    run = Run.create(conf, tmp_path)
    dataset(reviews(), SPLIT).save(run.path("data"))
    with pytest.raises(GenreError, match=r"train\.temperature: the interactions have no column 'dataset'"):
        train(conf, run)


def test_groups_stay_together_however_often_they_come(backbone):
    from toyworld import circle

    reading = circle()
    log = reading.interactions
    log = log.append_column("dataset", [["a" if int(u[1:]) < 50 else "b" for u in log["user_id"].to_pylist()]])
    reading.interactions = log
    formulation = {"type": "cross", "targets": 3, "negatives": 2, "pool": 10}
    heads = {"chosen": {"type": "binary", "label": "chosen"}}
    model = {"formulation": formulation, "template": "{title}", "max_tokens": 32, "heads": heads}
    section = text_config(backbone, model=model).model
    sheet = SheetMaker(section, load(section.backbone), dataset(reading), 7).part("train")
    assert sheet.source is not None
    assert sheet.asked is not None
    for group in np.unique(sheet.group):
        assert len(set(sheet.source[sheet.group == group].tolist())) == 1, "a negative is of its group's dataset"
    sizes = np.bincount(sheet.group)
    drawn: np.ndarray = np.zeros(2)
    for batch in sheet.epoch(16, np.random.default_rng(0), 1e9):
        groups, counts = np.unique(sheet.group[batch], return_counts=True)
        assert (counts % sizes[groups] == 0).all()
        drawn += np.bincount(sheet.source[batch[sheet.asked.row[batch] >= 0]], minlength=2)
    assert abs(drawn[0] - drawn[1]) <= 1


@pytest.mark.parametrize("setting", [{"temperature": 2.0}, {"shots": 5}, {"perturb": "fgm"}, {"contrastive_start": 1}])
def test_a_model_of_items_refuses_what_is_about_rows(backbone, tmp_path, setting):
    from toyworld import circle

    conf = config(backbone, train=setting)
    run = Run.create(conf, tmp_path)
    dataset(circle()).save(run.path("data"))
    [name] = setting
    with pytest.raises(GenreError, match=rf"train\.{name} works on the texts of rows or pairs"):
        train(conf, run)
    assert Dataset.load(run.path("data"))
