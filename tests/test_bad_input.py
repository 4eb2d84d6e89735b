"""Data and settings at the edge: each gives a clear error, or an answer by a stated rule, through the real stages."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from finished import finished
from genre.cases import Cases
from genre.component import Slot
from genre.config import Config, DataSection
from genre.data import Histories, Log
from genre.datasets import Reading
from genre.errors import DataError, GenreError
from genre.evaluate import evaluate
from genre.pipeline import Pipeline
from genre.prepare import prepare
from genre.rank import examples, fit_scorer, rank
from genre.ranking import ranks
from genre.run import Run
from genre.systems import Catalogue, of_pipeline
from genre.train import train
from genre.types import Query
from toyworld import circle, config, dataset, tiny_backbone

SMALL = circle(n_users=20, n_items=8, length=5)
NEXT = {"heads": {"next": "next_item"}, "user": "mean"}


def changed(reading: Reading, **columns: list) -> Reading:
    """The reading with other columns in its interactions."""
    table = reading.interactions
    kept = {name: table[name] for name in table.column_names}
    return replace(reading, interactions=pa.table({**kept, **columns}))


def titled(titles: list[str]) -> Reading:
    """The small circle with other titles."""
    return replace(SMALL, items=pa.table({"item_id": [f"i{i}" for i in range(8)], "title": titles}))


def with_more(rows: list[tuple[str, str]]) -> Reading:
    """The small circle with a further event of some users each."""
    table = SMALL.interactions
    users, items = zip(*rows, strict=True)
    n = len(rows)
    more = {
        "user_id": users, "item_id": items, "action": ["rate"] * n, "value": [5.0] * n, "timestamp": [1_000_000] * n,
        "file": ["more"] * n, "line": range(1, n + 1),
    }  # fmt: skip
    return replace(SMALL, interactions=pa.concat_tables([table, pa.table(more, schema=table.schema)]))


def trained(reading: Reading, folder, split="last", scorer="weighted", **model) -> Run:
    """A run with a small model and a ranked pipeline."""
    conf = config(
        tiny_backbone(folder / "bert"),
        name="edge",
        model={**NEXT, **model},
        pipeline={"sources": ["model", "content_knn", "transitions"], "scorer": scorer},
        evaluate={"bootstrap": 20, "baselines": ["popular"], "examples": 1},
        train={"warmup_epochs": 1, "epochs": 0},
    )
    run = Run.create(conf, folder)
    dataset(reading, split).save(run.path("data"))
    for stage in (train, rank):
        stage(conf, run)
    return run


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("GENRE_CACHE", str(tmp_path / "cache"))


def test_a_split_by_time_says_how_many_rows_have_none():
    times = SMALL.interactions["timestamp"].to_pylist()
    some = changed(SMALL, timestamp=[None, None, *times[2:]])
    with pytest.raises(DataError, match=r"'time' needs a timestamp in every row.*'last'.*: 2 of 100 rows have none"):
        dataset(some, "time")
    bare = replace(SMALL, interactions=SMALL.interactions.drop_columns(["timestamp"]))
    with pytest.raises(DataError, match="100 of 100 rows have none"):
        dataset(bare, "time")


def test_without_times_the_order_of_the_file_is_that_of_the_events_and_a_note_says_so():
    bare = replace(SMALL, interactions=SMALL.interactions.drop_columns(["timestamp"]))
    data = dataset(bare, "last")
    assert any("no interaction has a timestamp" in note for note in data.manifest["problems"])
    timed = dataset(SMALL, "last")
    assert data.interactions["item_id"].equals(timed.interactions["item_id"])
    assert data.interactions["part"].equals(timed.interactions["part"])
    assert not timed.manifest["problems"]
    by_chance = {"type": "random", "valid": 0.2, "test": 0.2}
    assert not any("timestamp" in note for note in dataset(bare, by_chance).manifest["problems"])


def test_items_without_text_are_silent_where_text_speaks_and_known_by_their_ids(tmp_path):
    """Half of the items have no text: they are like nothing, not like each other."""
    run = trained(titled([f"redcup word{i}" if i % 2 else "" for i in range(8)]), tmp_path)
    pipeline = Pipeline.load(run.folder)
    vectors = pipeline.resources.text_vectors()
    assert (np.linalg.norm(vectors, axis=1) > 0).tolist() == [False, True] * 4
    (slate,) = pipeline.recommend([Query(history=("i0", "i2"), k=8)])
    assert slate.skipped["content_knn"] == "nothing to say for this person"
    assert {one.item_id for one in slate.items} & {"i4", "i6"}
    similar = Slot("features").build("text_similarity")
    asked = Histories.of_items([[1, 0], [2]])
    candidates, _ = pipeline.retrieve(asked, np.ones((2, 8), dtype=bool))
    resources = pipeline.resources
    found = similar.values(similar.fit(pipeline.log, resources), candidates, asked, resources)
    columns = {name: values.reshape(2, 8) for name, values in found.items()}
    assert np.isnan(columns["text_similarity.last"]).all()
    assert np.isfinite(columns["text_similarity.mean"][0]).tolist() == [False, True] * 4
    np.testing.assert_array_equal(columns["text_similarity.mean"][0], columns["text_similarity.most"][0])
    assert np.isnan(columns["text_similarity.mean"][1]).all()


def test_without_any_text_ids_alone_recommend_and_a_model_of_text_says_what_to_do(tmp_path):
    silent = titled([""] * 8)
    run = trained(silent, tmp_path, text=False)
    evaluate(run.config, run)
    (slate,) = Pipeline.load(run.folder).recommend([Query(user_id="u0", k=3)])
    assert len(slate.items) == 3
    assert slate.skipped == {"content_knn": "nothing to say for this person"}
    with pytest.raises(DataError, match="leaves every item without text"):
        trained(silent, tmp_path / "text")


def test_users_with_one_event_train_and_are_answered_but_not_judged(tmp_path):
    data = dataset(with_more([("once", "i1"), ("also", "i2")]))
    assert "2 users have too few events to be judged; theirs all train" in data.manifest["problems"]
    log = Log.of(data)
    some = data.interactions["user_id"].to_pylist()
    assert {log.part[i] for i, user in enumerate(some) if user in ("once", "also")} == {0}
    short = [data.users["user_id"].to_pylist().index(user) for user in ("once", "also")]
    for part in ("valid", "test"):
        cases = Cases.of(log, part)
        assert len(cases) == 20
        assert not set(short) & set(cases.user.tolist())
    run = trained(with_more([("once", "i1"), ("also", "i2")]), tmp_path)
    (slate,) = Pipeline.load(run.folder).recommend([Query(user_id="once", k=8)])
    assert slate.removed == {"seen": 1}
    assert "i1" not in {one.item_id for one in slate.items}


def test_where_nobody_has_enough_events_the_split_says_so():
    first = replace(SMALL, interactions=SMALL.interactions.take(np.arange(0, 100, 5)))
    with pytest.raises(DataError, match="no valid events, as 20 users have fewer than it takes to judge them"):
        dataset(first, "last")


def emptied(scorer: str, folder) -> Run:
    """The finished circle with a filter that lets nothing pass, ranked and evaluated."""
    whole = finished()
    section = replace(
        whole.config.pipeline,
        filters=[
            Slot("filters").build(one) for one in ("seen", {"type": "attribute", "column": "title", "only": ["no"]})
        ],
        scorer=Slot("scorers").build(scorer),
    )
    config = replace(whole.config, name="empty", pipeline=section)
    run = Run.create(config, folder)
    for stage in ("data", "model", "tuning"):
        shutil.copytree(whole.path(stage), run.path(stage))
    for stage in (rank, evaluate):
        stage(config, run)
    return run


@pytest.mark.parametrize("scorer", ["weighted", "lambdamart", "reciprocal_rank"])
def test_where_the_filters_take_out_everything_the_slate_is_empty_and_ranked_last(scorer, tmp_path):
    run = emptied(scorer, tmp_path)
    pipeline = Pipeline.load(run.folder)
    known, new = pipeline.recommend([Query(user_id="u0"), Query(text="redcup")])
    assert known.items == new.items == []
    assert sum(known.removed.values()) == len(pipeline.item_ids)
    assert new.removed == {"seen": 0, "attribute": len(pipeline.item_ids)}
    assert "ease" in new.skipped
    result = json.loads((run.path("evaluate") / "metrics.json").read_text())
    ours = {name: found["value"] for name, found in result["systems"]["genre"].items()}
    assert ours["coverage@10"] == ours["recall@5"] == ours["auc"] == 0
    assert ours["gini@10"] is None
    cases = Cases.of(pipeline.log, "test")
    allowed = cases.allowed()
    last = ranks(of_pipeline(pipeline)(cases), allowed, cases.targets)
    assert [one.tolist() for one in last] == [[n] for n in allowed.sum(1)]
    facts = json.loads((run.path("rank") / "scorer.json").read_text())
    assert facts["retrieved"] == facts["candidates"] == 0


@pytest.mark.parametrize("scorer", ["weighted", "lambdamart", "reciprocal_rank"])
def test_where_every_source_is_silent_the_slate_is_empty_and_says_which(scorer, tmp_path):
    whole = finished()
    section = replace(
        whole.config.pipeline,
        sources=[Slot("sources").build({"type": name}) for name in ("item_knn", "ease")],
        scorer=Slot("scorers").build(scorer),
    )
    run = Run.create(replace(whole.config, name="silent", pipeline=section), tmp_path)
    for stage in ("data", "model"):
        shutil.copytree(whole.path(stage), run.path(stage))
    rank(run.config, run)
    pipeline = Pipeline.load(run.folder)
    known, new = pipeline.recommend([Query(user_id="u0", k=4), Query(text="redcup", k=4)])
    assert len(known.items) == 4
    assert new.items == []
    assert new.skipped == dict.fromkeys(("item_knn", "ease"), "nothing to say for this person")


def test_a_single_case_is_enough_to_fit_a_scorer(tmp_path):
    """There is none to hold out."""
    run = finished()
    pipeline = Pipeline.load(run.folder)
    one = Cases.of(pipeline.log, "valid").take(np.arange(1))
    fitted = fit_scorer(pipeline, one, Catalogue.of(pipeline.log.parts("train"), pipeline.resources), 7)
    assert fitted.facts["cases"] == 1
    assert fitted.facts["held_out"] is None
    _, chosen, counts = examples(pipeline, one, 7)
    assert counts["cases"] == 1
    assert fitted.facts["candidates"] == counts["candidates"] >= len(chosen)


def test_an_action_that_no_head_uses_is_an_event_all_the_same(tmp_path):
    """It fills histories and is what comes next; of a skip that no head uses there is nothing but what is not shown."""
    actions = ["buy" if i % 5 == 4 else "view" for i in range(100)]
    run = trained(changed(SMALL, action=actions), tmp_path / "buys")
    pipeline = Pipeline.load(run.folder)
    bought = Cases.of(pipeline.log, "test")
    assert len(bought) == 20
    plain = Cases.of(Log.of(dataset(SMALL)), "test")
    assert [one.tolist() for one in bought.targets] == [one.tolist() for one in plain.targets]
    skipped = ["skip" if i % 5 == 1 else "view" for i in range(100)]
    run = trained(changed(SMALL, action=skipped), tmp_path / "skips")
    pipeline = Pipeline.load(run.folder)
    assert (Histories.of(pipeline.log).lengths == 4).all()
    first = pipeline.data.interactions.slice(0, 5)
    passed_over = first["item_id"][first["action"].to_pylist().index("skip")].as_py()
    (slate,) = pipeline.recommend([Query(user_id="u0", k=8)])
    assert slate.removed == {"seen": 4}
    assert passed_over in {one.item_id for one in slate.items}


def test_a_head_of_an_action_that_the_data_do_not_hold_is_told_at_training(tmp_path):
    click = {"type": "binary", "label": "action == 'click'"}
    with pytest.raises(DataError, match="no action 'click' in the data; known: rate"):
        trained(SMALL, tmp_path, heads={"next": "next_item", "click": click})
    late = changed(SMALL, action=["click" if i % 5 == 4 else "view" for i in range(100)])
    with pytest.raises(GenreError, match=r"model\.heads\.click.*is 0 in all 60 training rows"):
        trained(late, tmp_path / "late", heads={"next": "next_item", "click": click})


@pytest.mark.parametrize("split", ["last", "time"])
def test_a_catalogue_of_one_item_is_refused(split, tmp_path):
    lines = ["user_id,item_id,timestamp", *(f"u{i // 3},i0,{i}" for i in range(30))]
    (tmp_path / "interactions.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    reader = Slot("datasets").build({"type": "table", "interactions": str(tmp_path / "interactions.csv")})
    conf = Config(name="one", data=DataSection(reader=reader, split=split))
    with pytest.raises(DataError, match="there is one item; recommending needs at least two"):
        prepare(conf, Run.create(conf, tmp_path))


@pytest.mark.parametrize("split", ["last", "random", "time", "cold_items", "cold_users"])
def test_a_log_of_one_user_is_refused_whatever_the_split(split):
    with pytest.raises(DataError, match="1 user with usable interactions; recommending needs at least two"):
        dataset(circle(n_users=1, n_items=8, length=8), split)


def test_an_event_that_is_there_twice_counts_once(tmp_path):
    """Through to the ranking: a copy changes neither the data nor what is learned from them."""
    copies = SMALL.interactions.slice(0, 3)
    twice = replace(SMALL, interactions=pa.concat_tables([SMALL.interactions, copies]))
    once, again = dataset(SMALL), dataset(twice)
    assert again.interactions.equals(once.interactions)
    assert again.rejected["reason"].to_pylist() == ["is an earlier row again (same user, item, action and time)"] * 3
    assert again.manifest["rejected"] == {"is an earlier row again": 3}


def test_a_second_visit_is_history_but_no_second_vote():
    """At another time it is an event of its own; sources count people, and what was had already is no target."""
    walked = [(f"u{u}", f"i{i}") for u in range(3) for i in (0, 1, 2, 1, 3)]
    users, items = zip(*walked, strict=True)
    reading = Reading(pa.table({"user_id": users, "item_id": items, "timestamp": list(range(15))}), name="again")
    log = Log.of(dataset(reading, {"type": "last", "valid": 1, "test": 1}))
    assert (Histories.of(log).lengths == 5).all()
    assert log.matrix().max() == 1
    with pytest.raises(GenreError, match="the valid part holds no item new to its user"):
        Cases.of(log, "valid")
    assert len(Cases.of(log, "test")) == 3
