"""People and items of which little is known: the curve of few events, new items in the index, a text for a history."""

import functools
import html
import json
import os
import re
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from pydantic import TypeAdapter
from scipy import sparse

from finished import finished, finished_pairs, finished_texts
from genre.additions import FeatureOfCatalogue, Index
from genre.candidates import Candidates
from genre.cases import Cases
from genre.cli import commands
from genre.component import Slot
from genre.config import PipelineSection
from genre.data import Dataset, Histories, Log
from genre.datasets import Reading
from genre.errors import DataError, GenreError, RunError
from genre.evaluate import evaluate
from genre.files import seal
from genre.indexing import add
from genre.pipeline import Pipeline, Trace
from genre.rank import rank
from genre.report import report
from genre.resources import load_model
from genre.run import Run
from genre.shotcurve import ShotCurve
from genre.sources import Resources
from genre.systems import Catalogue, mean, measure, metric_named, rank_cases
from genre.train import train
from genre.types import Query
from toyworld import WORDS, circle, config, dataset, tiny_backbone


@pytest.fixture(scope="module")
def curve() -> dict:
    return json.loads((finished().path("evaluate") / "metrics.json").read_text())["shot_curve"]


def value(point: dict, system: str, metric: str = "ndcg@10") -> float:
    return point["systems"][system][metric]["value"]


def test_the_circle_takes_one_event_to_those_who_see_order(curve):
    """Whoever knows the last item knows the next; whoever counts learns nothing from any history."""
    assert [point["shots"] for point in curve["points"]] == [0, 1, 2, 5, 10, None]
    assert [point["mean_events"] for point in curve["points"]] == [0, 1, 2, 5, 10, 11]
    nothing, one = curve["points"][:2]
    for system in ("genre", "model", "transitions"):
        assert value(nothing, system) < 0.6
        assert value(one, system) > 0.95
    assert len({value(point, "popular") for point in curve["points"]}) == 1
    assert curve["cases"] == curve["of"] == 80


def test_the_curve_holds_ours_the_best_baseline_and_the_plain_ones_alone(curve):
    assert curve["best_baseline"] == "transitions"
    systems = {"genre", "model", "model_before", "transitions", "popular", "content_knn"}
    assert all(set(point["systems"]) == systems for point in curve["points"]), "ease led for a while, and is left out"
    for point in curve["points"]:
        for found in point["systems"].values():
            assert set(found) == {"ndcg@10", "recall@10"}
            assert found["ndcg@10"]["ci95"][0] <= found["ndcg@10"]["value"] <= found["ndcg@10"]["ci95"][1]


def test_its_end_is_the_evaluation_itself(curve):
    result = json.loads((finished().path("evaluate") / "metrics.json").read_text())
    for system in curve["points"][-1]["systems"]:
        assert value(curve["points"][-1], system) == pytest.approx(result["systems"][system]["ndcg@10"]["value"])
    assert 0 < result["cost"]["shot_curve_seconds"] < result["cost"]["evaluate_seconds"]
    assert (result["contract"]["cold_targets"], result["contract"]["cases_without_history"]) == (0, 0)


def parts(n_users: int = 40) -> tuple[Log, Cases, Catalogue]:
    log = Log.of(dataset(circle(n_users=n_users)))
    catalogue = Catalogue(np.ones(log.n_items, dtype=np.int32), np.eye(log.n_items, dtype=np.float32))
    return log, Cases.of(log, "test"), catalogue


def test_what_is_ranked_does_not_change_with_the_events_known():
    """A scorer that puts the target last but for the items of the whole history is right at every k."""
    log, cases, catalogue = parts()
    asked: list[int] = []

    def score(block: Cases):
        asked.append(int(block.histories.lengths.max()))
        scores = np.zeros((len(block), log.n_items), dtype=np.float32)
        had = cases.take(np.searchsorted(cases.user, block.user)).histories.matrix(log.n_items).toarray()
        scores[had > 0] = 2
        for row, items in enumerate(block.targets):
            scores[row, items] = 1
        return scores

    curve = ShotCurve.drawn(cases, (3, 0), catalogue, 50, 0)
    curve.hear("genre", score, rank_cases(score, cases, catalogue), None)
    assert asked == [11, 0, 3]
    assert [value(point, "genre") for point in curve.as_json()["points"]] == [1, 1, 1]


def test_of_an_impression_what_was_shown_is_ranked_at_every_k():
    log, cases, catalogue = parts()
    shown = np.zeros((len(cases), log.n_items), dtype=np.float32)
    for row, items in enumerate(cases.targets):
        shown[row, [*items, (items[0] + 1) % log.n_items, (items[0] + 2) % log.n_items]] = 1
    some = replace(cases, impression=np.arange(len(cases), dtype=np.int32), shown=sparse.csr_matrix(shown))

    def score(block: Cases):
        scores = 2 * (block.shown.toarray() == 0)
        for row, items in enumerate(block.targets):
            scores[row, items] = 1
        return scores.astype(np.float32)

    curve = ShotCurve.drawn(some, (0, 5), catalogue, 50, 0, most=20)
    curve.hear("genre", score, rank_cases(score, some, catalogue), None)
    assert [value(point, "genre") for point in curve.as_json()["points"]] == [1, 1, 1]


def test_a_sample_is_drawn_by_the_seed_and_stated():
    _, cases, catalogue = parts()
    one, same, other = (ShotCurve.drawn(cases, (0,), catalogue, 50, seed, most=10) for seed in (1, 1, 2))
    assert len(one.cases) == 10
    assert one.rows.tolist() == same.rows.tolist() != other.rows.tolist()
    assert one.cases.user.tolist() == cases.user[one.rows].tolist()


def test_the_leader_on_validation_is_kept_whatever_the_order():
    log, cases, catalogue = parts()

    def score(block: Cases):
        return np.ones((len(block), log.n_items), dtype=np.float32)

    curve = ShotCurve.drawn(cases, (1,), catalogue, 50, 0)
    whole = rank_cases(score, cases, catalogue)
    for name, valid in (("popular", 0.2), ("ease", 0.3), ("ials", 0.1), ("recent", None), ("bpr", 0.4), ("knn", 0.4)):
        curve.hear(name, score, whole, valid)
    assert list(curve.found) == ["popular", "bpr"]
    assert curve.as_json()["best_baseline"] == "bpr"


def test_no_points_no_curve():
    log, cases, catalogue = parts()
    curve = ShotCurve.drawn(cases, (), catalogue, 50, 0)
    scores = np.zeros((len(cases), log.n_items), dtype=np.float32)
    curve.hear("genre", lambda block: scores, rank_cases(lambda block: scores, cases, catalogue), None)
    assert curve.as_json() == {}


# A world of tastes: what people like is in the first word of a title, and some items nobody has had in training.


def tastes(n_users: int = 90, n_items: int = 45, length: int = 8, seed: int = 0) -> Reading:
    """People like one of three topics and choose from its items; an item's title is its topic and a word of its own."""
    rng = np.random.default_rng(seed)
    topic = np.arange(n_items) % 3
    chosen = [rng.choice(np.flatnonzero(topic == user % 3), length, replace=False) for user in range(n_users)]
    log = pa.table(
        {
            "user_id": np.repeat([f"u{u}" for u in range(n_users)], length),
            "item_id": [f"i{i}" for i in np.concatenate(chosen)],
            "timestamp": np.tile(np.arange(length), n_users) + 1_000_000,
        }
    )
    titles = [f"{TOPICS[i % 3]} word{i}" for i in range(n_items)]
    items = pa.table(
        {
            "item_id": [f"i{i}" for i in range(n_items)],
            "title": titles,
            "year": pa.array([1990 + i for i in range(n_items)]),
            "categories": [[TOPICS[i % 3]] for i in range(n_items)],
        }
    )
    return Reading(log, items, None, name="tastes", source="made", licence="none")


TOPICS = ("redcup", "bluehat", "greypen")


@functools.cache
def tastes_run() -> Run:
    """A finished run of that world, its test and validation on items that nobody has had in training."""
    folder = Path(tempfile.mkdtemp(prefix="genre-test-"))
    os.environ["GENRE_CACHE"] = str(folder / "cache")
    conf = config(
        tiny_backbone(folder / "bert"),
        name="tastes",
        model={"heads": {"next": "next_item"}, "id_dropout": 0.5, "max_history": 8},
        pipeline={"sources": ["model", "content_knn", "ease", "transitions", "popular"]},
        evaluate={"bootstrap": 100, "baselines": ["popular", "ease", "transitions", "content_knn"], "examples": 1},
        train={"warmup_epochs": 10, "epochs": 1},
    )
    run = Run.create(conf, folder)
    dataset(tastes(), {"type": "cold_items", "valid": 0.2, "test": 0.2}).save(run.path("data"))
    for stage in (train, rank, evaluate):
        stage(conf, run)
    return run


def test_cold_items_are_found_by_their_text_and_by_nothing_that_counts():
    result = json.loads((tastes_run().path("evaluate") / "metrics.json").read_text())
    values = {name: found["recall@10"]["value"] for name, found in result["systems"].items()}
    assert values["popular"] == values["transitions"] == 0, "what was never counted stands behind all that was"
    assert values["ease"] == 0
    assert min(values["genre"], values["model"], values["content_knn"]) > 0.3
    assert result["best_baseline"]["ndcg@10"] == "content_knn"
    contract = result["contract"]
    assert contract["cold_targets"] == contract["targets"] > 0
    slices = result["slices"]
    assert slices["cold_items"]["n"] == slices["item_interactions_under_5"]["n"] == contract["cases"]
    assert not any(name.startswith("item_popularity") for name in slices)


def test_the_report_says_how_many_targets_are_cold():
    run = tastes_run()
    report(run.config, run)
    page = (run.path("report") / "report.html").read_text(encoding="utf-8")
    text = " ".join(html.unescape(re.sub(r"<svg.*?</svg>|<[^>]+>", " ", page, flags=re.DOTALL)).split())
    targets = json.loads((run.path("evaluate") / "metrics.json").read_text())["contract"]["targets"]
    assert f"with {targets} items to find, {targets} of them without an interaction in training" in text
    assert "Items of which little is known" in text
    assert re.search(r"cold items , \d+ cases: GENRE 0\.\d{4}; GENRE, whole pipeline beside content knn", text)


def copied(run: Run, tmp_path: Path) -> Run:
    """A copy of a run to change."""
    shutil.copytree(run.folder, tmp_path / "run")
    return Run.open(tmp_path / "run")


NEW = [
    {"item_id": "n0", "title": "redcup word100", "year": 2020, "categories": "redcup"},
    {"item_id": "n1", "title": "greypen word101", "year": "", "categories": "greypen|other"},
]


def csv_file(path: Path, rows: list[dict]) -> Path:
    """Rows as CSV, with the columns of the first."""
    lines = [",".join(rows[0]), *(",".join(str(value) for value in row.values()) for row in rows)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_new_items_are_recommended_to_those_who_like_what_they_say(tmp_path):
    run = copied(tastes_run(), tmp_path)
    done = add(run, csv_file(tmp_path / "new.csv", NEW))
    assert (done.added, done.updated, done.unchanged, done.rejected) == (["n0", "n1"], [], 0, [])
    path = Pipeline.load(run.folder)
    likes = {topic: tuple(f"i{i}" for i in range(n, 18, 3)) for n, topic in enumerate(TOPICS)}
    for topic, new, other in (("redcup", "n0", "n1"), ("greypen", "n1", "n0")):
        [slate] = path.recommend([Query(history=likes[topic], k=45)])
        place = {item.item_id: i for i, item in enumerate(slate.items)}
        assert place[new] < place.get(other, 99)
        found = next(item for item in slate.items if item.item_id == new)
        assert set(found.sources) <= {"model", "content_knn"}
        assert found.sources["content_knn"] <= 20
        assert np.isfinite(found.predictions["next"])
        assert not any("failed" in why for why in slate.skipped.values())


def test_an_added_item_is_what_a_cold_item_of_the_catalogue_is(tmp_path):
    """Its vectors are those that the model gave to an item of the same text which nobody had in training."""
    run = copied(tastes_run(), tmp_path)
    data = Dataset.load(run.path("data"))
    counts = np.bincount(Log.of(data).parts("train").item, minlength=data.items.num_rows)
    cold = np.flatnonzero(counts == 0)[:5]
    rows = [{**row, "item_id": f"twin{i}"} for i, row in zip(cold, data.items.take(cold).to_pylist(), strict=True)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "twins.parquet")
    add(run, tmp_path / "twins.parquet")
    for version in ("finetuned", "before"):
        path = Pipeline.load(run.folder, version)
        vectors = path.resources.model.item_vectors()
        np.testing.assert_allclose(vectors[data.items.num_rows :], vectors[cold], atol=1e-5)
        known = path.states["content_knn"]["vectors"]
        np.testing.assert_allclose(known[data.items.num_rows :], known[cold], atol=1e-5)


def test_nothing_changes_for_the_catalogue(tmp_path):
    run = copied(tastes_run(), tmp_path)
    before = Pipeline.load(run.folder)
    add(run, csv_file(tmp_path / "new.csv", NEW))
    after, plain = Pipeline.load(run.folder), Pipeline.load(run.folder, added=False)
    n = before.data.items.num_rows
    assert (after.data.items.num_rows, plain.data.items.num_rows) == (n + 2, n)
    histories = Histories.of(before.log, np.arange(20, dtype=np.int32))
    trace = Trace()
    for name, source in after.sources.items():
        was = before._ask(name, before.sources[name], histories, trace)
        now = after._ask(name, source, histories, trace)
        np.testing.assert_allclose(now[:, :n], was, atol=1e-5)
        silent = (now[:, n:] == now.min(1, keepdims=True)).all()
        assert silent == (name in ("ease", "transitions", "popular")), "it has nothing to say of a new item"
    assert trace.failed == {}


def test_a_history_of_new_items_is_read_by_text_and_passed_over_by_what_counts(tmp_path):
    run = copied(tastes_run(), tmp_path)
    add(run, csv_file(tmp_path / "new.csv", NEW))
    path = Pipeline.load(run.folder)
    [slate, mixed] = path.recommend([Query(history=("n0",), k=8), Query(history=("i0", "n0", "i3"), k=50)])
    assert not any("failed" in why for why in slate.skipped.values())
    assert slate.skipped["ease"] == "nothing to say for this person"
    [first] = path.recommend([Query(history=("i0", "i3"), k=50)])
    ranks = [{c.item_id: c.sources.get("ease") for c in one.items if c.item_id != "n0"} for one in (mixed, first)]
    assert ranks[0] == ranks[1]
    topics = [int(item.item_id[1:]) % 3 for item in slate.items[:3] if item.item_id.startswith("i")]
    assert topics.count(0) >= 2


def test_the_same_rows_in_any_format_make_one_index(tmp_path):
    made = []
    typed = [
        {"item_id": "n0", "title": "redcup word100", "year": 2020, "categories": ["redcup"]},
        {"item_id": "n1", "title": "greypen word101", "year": None, "categories": ["greypen", "other"]},
    ]
    csv_file(tmp_path / "a.csv", NEW)
    (tmp_path / "a.jsonl").write_text("\n".join(json.dumps(row) for row in typed), encoding="utf-8")
    pq.write_table(pa.Table.from_pylist(typed), tmp_path / "a.parquet")
    for name in ("a.csv", "a.jsonl", "a.parquet"):
        run = copied(tastes_run(), tmp_path / name.replace(".", "-"))
        add(run, tmp_path / name)
        made.append(json.loads((run.path("index") / "manifest.json").read_text())["hash"])
    assert len(set(made)) == 1


def test_adding_again_changes_nothing_and_another_text_is_an_update(tmp_path):
    run = copied(tastes_run(), tmp_path)
    file = csv_file(tmp_path / "new.csv", NEW)
    add(run, file)
    manifest = run.path("index") / "manifest.json"
    first = (manifest.read_bytes(), manifest.stat().st_mtime_ns)
    done = add(run, file)
    assert (done.added, done.updated, done.unchanged, done.total) == ([], [], 2, 2)
    assert (manifest.read_bytes(), manifest.stat().st_mtime_ns) == first
    more = [{**NEW[0], "title": "bluehat word100"}, {**NEW[0], "item_id": "n2"}]
    done = add(run, csv_file(tmp_path / "more.csv", more))
    assert (done.added, done.updated, done.unchanged, done.total) == (["n2"], ["n0"], 0, 3)
    grown = Index.of(run, Dataset.load(run.path("data")))
    assert grown is not None
    other = copied(tastes_run(), tmp_path / "other")
    at_once = [more[0], NEW[1], more[1]]
    add(other, csv_file(tmp_path / "all.csv", at_once))
    whole = Index.of(other, Dataset.load(other.path("data")))
    assert whole is not None
    assert grown.items.equals(whole.items)
    for name, vectors in whole.vectors.items():
        np.testing.assert_allclose(grown.vectors[name], vectors, atol=1e-5)


def test_rows_that_cannot_be_used_are_named(tmp_path):
    run = copied(tastes_run(), tmp_path)
    bad = [
        NEW[0],
        {**NEW[1], "item_id": " "},
        {**NEW[1], "item_id": "n0"},
        {**NEW[1], "item_id": "n3", "title": "  "},
        {**NEW[1], "item_id": "n4", "year": "soon"},
        {**NEW[1], "item_id": "n5", "year": "1999.5"},
    ]
    done = add(run, csv_file(tmp_path / "new.csv", bad))
    assert done.added == ["n0"]
    assert [(row["line"], row["reason"]) for row in done.rejected] == [
        (3, "no item_id"),
        (4, "item_id is there twice ('n0')"),
        (5, "no text: nothing in title"),
        (6, "year is no int64 ('soon')"),
        (7, "year is no int64 ('1999.5')"),
    ]
    kept = pq.read_table(run.path("index") / "rejected.parquet")
    assert kept["reason"].to_pylist() == [row["reason"] for row in done.rejected]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"item_id": "n0", "titel": "redcup"}], "no column 'title' .*did you mean 'titel'"),
        ([{"id": "n0", "title": "redcup"}], "no column 'item_id'"),
        ([{**NEW[0], "yaer": 3}], "the catalogue has no column 'yaer'; did you mean 'year'"),
        ([{**NEW[0], "title": ""}], "no row can be used, of 1: .*new.csv:2: no text"),
        ([NEW[0], {**NEW[0], "item_id": "i1"}], "new.csv:3: item 'i1' differs in title, year, categories from the cat"),
    ],
)
def test_a_file_that_does_not_fit_is_refused_whole(tmp_path, rows, message):
    run = copied(tastes_run(), tmp_path)
    with pytest.raises(DataError, match=message):
        add(run, csv_file(tmp_path / "new.csv", rows))
    assert not run.path("index").exists()


def test_an_item_of_the_catalogue_as_it_is_may_be_in_the_file(tmp_path):
    run = copied(tastes_run(), tmp_path)
    row = {"item_id": "i1", "title": "bluehat word1", "year": 1991, "categories": "bluehat"}
    done = add(run, csv_file(tmp_path / "new.csv", [row]))
    assert (done.added, done.unchanged) == ([], 1)
    assert not run.path("index").exists()


def test_a_damaged_run_or_index_is_refused(tmp_path):
    run = copied(tastes_run(), tmp_path)
    file = csv_file(tmp_path / "new.csv", NEW)
    add(run, file)
    vectors = run.path("index") / "vectors.safetensors"
    whole = vectors.read_bytes()
    vectors.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    for ask in (lambda: add(run, file), lambda: Pipeline.load(run.folder)):
        with pytest.raises(RunError, match=r"its bytes differ.*; delete .*index and add the items again"):
            ask()
    assert Pipeline.load(run.folder, added=False).sources
    vectors.write_bytes(whole)
    weights = run.path("model") / "finetuned" / "items.safetensors"
    content = weights.read_bytes()
    weights.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(RunError, match=r"items\.safetensors: its bytes differ"):
        add(run, csv_file(tmp_path / "more.csv", [{**NEW[0], "item_id": "n9"}]))
    assert vectors.read_bytes() == whole


def test_an_index_of_another_model_says_how_to_bring_it_up_to_date(tmp_path):
    run = copied(tastes_run(), tmp_path)
    add(run, csv_file(tmp_path / "new.csv", NEW))
    index = run.path("index")
    right = pq.read_table(index / "items.parquet"), (index / "vectors.safetensors").read_bytes()
    seal(index, 1, data=Dataset.load(run.path("data")).hash, model="another", items=2)
    with pytest.raises(RunError, match=r"another model; run 'genre index .* --add .*items\.parquet'"):
        Pipeline.load(run.folder)
    done = add(run, index / "items.parquet")
    assert (done.unchanged, done.total) == (2, 2)
    assert Pipeline.load(run.folder).data.items.num_rows == 47
    assert pq.read_table(index / "items.parquet").equals(right[0])
    assert (index / "vectors.safetensors").read_bytes() == right[1]


def test_the_evaluation_leaves_added_items_aside(tmp_path):
    run = copied(tastes_run(), tmp_path)
    before = json.loads((run.path("evaluate") / "metrics.json").read_text())
    add(run, csv_file(tmp_path / "new.csv", NEW))
    shutil.rmtree(run.path("evaluate"))
    evaluate(run.config, run)
    after = json.loads((run.path("evaluate") / "metrics.json").read_text())
    assert after["systems"] == before["systems"]


def test_filters_read_the_columns_of_new_items(tmp_path):
    run = copied(tastes_run(), tmp_path)
    add(run, csv_file(tmp_path / "new.csv", NEW))
    path = Pipeline.load(run.folder)
    only = {"only": Slot("filters").build({"type": "attribute", "column": "categories", "only": ["other"]})}
    [slate] = replace(path, filters=only).recommend([Query(history=("i2", "i5"))])
    assert [item.item_id for item in slate.items] == ["n1"]


def test_a_cross_model_reads_new_items(tmp_path):
    run = copied(finished_pairs(), tmp_path)
    done = add(run, csv_file(tmp_path / "new.csv", [{"item_id": "n0", "title": "redcup word100"}]))
    assert (done.added, done.readers) == (["n0"], [])
    path = Pipeline.load(run.folder)
    assert path.reranker is not None
    histories = Histories.of_items([[0, 1], [2, path.item_ids.index("n0")]])
    said = path.reranker.model.predict("chosen", histories, np.array([20, 3], dtype=np.int32))
    assert path.item_ids[20] == "n0"
    assert ((said > 0) & (said < 1)).all()
    assert path.recommend([Query(history=("n0", "i3"), k=3)])[0].items


def test_a_model_of_texts_has_no_catalogue(tmp_path):
    with pytest.raises(GenreError, match="recommends nothing"):
        add(finished_texts(), csv_file(tmp_path / "new.csv", NEW))


def test_the_command_adds_and_lists(tmp_path):
    run = copied(tastes_run(), tmp_path)
    many = [{**NEW[0], "item_id": f"n{i}", "title": "" if i >= 25 else "redcup"} for i in range(50)]
    file = csv_file(tmp_path / "new.csv", many)
    told = CliRunner().invoke(commands, ["index", str(run.folder), "--add", str(file)])
    assert told.exit_code == 0, told.output
    assert "25 added, 0 brought up to date, 0 there already, 25 rejected; the index holds 25 items" in told.output
    assert "new.csv:27: no text: nothing in title" in told.output
    assert "and 5 more: no text: nothing in title" in told.output
    listed = CliRunner().invoke(commands, ["index", str(run.folder)]).output
    assert "45 items in the catalogue, 25 added" in listed
    assert "n19" in listed
    assert "n20" not in listed
    assert "and 5 more" in listed
    wrong = CliRunner().invoke(commands, ["index", str(run.folder), "--add", str(tmp_path / "none.csv")])
    assert wrong.exit_code == 1
    assert "none.csv: no such file" in wrong.output
    pairs = copied(finished_pairs(), tmp_path / "pairs")
    row = [{"item_id": "n0", "title": "redcup"}]
    told = CliRunner().invoke(commands, ["index", str(pairs.folder), "--add", str(csv_file(tmp_path / "b.csv", row))])
    assert "no source of this run reads texts" in told.output


def test_a_new_person_is_answered_from_a_text(tmp_path):
    """What somebody says they like counts as an item of that text, for the model and for content sources alike."""
    path = Pipeline.load(copied(tastes_run(), tmp_path).folder)
    for topic, word in enumerate(TOPICS):
        [slate] = path.recommend([Query(text=f"{word} word{100 + topic}", k=8)])
        assert slate.skipped.get("ease") == "nothing to say for this person"
        assert "model" not in slate.skipped
        assert "content_knn" not in slate.skipped
        near = sorted((c for c in slate.items if "content_knn" in c.sources), key=lambda c: c.sources["content_knn"])
        assert sum(int(c.item_id[1:]) % 3 == topic for c in near[:3]) >= 2
        assert sum(int(c.item_id[1:]) % 3 == topic for c in slate.items[:5]) >= 3


def test_a_text_comes_with_a_history_or_with_a_user(tmp_path):
    path = Pipeline.load(tastes_run().folder)
    said = [Query(history=("i1", "i4")), Query(history=("i1", "i4"), text="redcup word7"), Query(user_id="u0")]
    said += [Query(user_id="u0", text="bluehat word7"), Query(user_id="nobody", text="redcup word7")]
    slates = path.recommend(said)
    assert all(slate.items for slate in slates)
    assert [c.score for c in slates[0].items] != [c.score for c in slates[1].items]
    assert [c.score for c in slates[2].items] != [c.score for c in slates[3].items]


def noisy(n_users: int = 200, n_items: int = 160, length: int = 10, seed: int = 0) -> Reading:
    """Eight topics, an item's somewhere among three words that mean nothing: what matters in a text must be learned."""
    rng = np.random.default_rng(seed)
    topic = np.arange(n_items) % 8
    chosen = [rng.choice(np.flatnonzero(topic == user % 8), length, replace=False) for user in range(n_users)]
    log = pa.table(
        {
            "user_id": np.repeat([f"u{u}" for u in range(n_users)], length),
            "item_id": [f"i{i}" for i in np.concatenate(chosen)],
            "timestamp": np.tile(np.arange(length), n_users) + 1_000_000,
        }
    )
    noise = [[f"word{w}" for w in rng.integers(0, 60, 3)] for _ in range(n_items)]
    titles = [" ".join(rng.permutation([WORDS[t], *words])) for t, words in zip(topic, noise, strict=True)]
    items = pa.table({"item_id": [f"i{i}" for i in range(n_items)], "title": titles})
    return Reading(log, items, None, name="noisy", source="made", licence="none")


def test_id_dropout_makes_the_text_work_for_cold_items(tmp_path, monkeypatch):
    """Without it the vectors of their own carry what is learned, and an item that has none is found half as often."""
    monkeypatch.setenv("GENRE_CACHE", str(tmp_path / "cache"))
    backbone, found = tiny_backbone(tmp_path / "bert"), {}
    data = dataset(noisy(), {"type": "cold_items", "valid": 0.2, "test": 0.2}, seed=9)
    cases = Cases.of(Log.of(data), "test")
    catalogue = Catalogue(np.zeros(160, dtype=np.int32), np.eye(160, dtype=np.float32))
    for dropout in (0.0, 0.5):
        model = {"heads": {"next": "next_item"}, "id_dropout": dropout, "max_history": 10}
        stop = {"metric": "ndcg@10", "patience": 15}
        conf = config(
            backbone,
            name=f"d{dropout}",
            seed=9,
            model=model,
            train={"warmup_epochs": 15, "epochs": 0, "early_stopping": stop},
        )
        run = Run.create(conf, tmp_path)
        data.save(run.path("data"))
        train(conf, run)
        trained = load_model(run, Dataset.load(run.path("data")))
        assert trained is not None
        ranking = rank_cases(lambda block, one=trained: one.score_next(block.histories), cases, catalogue)
        found[dropout] = mean(measure(ranking, [metric_named("ndcg@10")])["ndcg@10"])
    assert found[0.5] > 1.5 * found[0.0] > 0


def test_a_feature_knows_nothing_of_an_added_item():
    log = Log.of(dataset(circle(n_users=12, n_items=6, length=4)))
    items = pa.table({"item_id": [f"i{i}" for i in range(8)]})
    nothing = Resources(items, lambda: np.zeros((0, 2), dtype=np.float32), lambda texts: np.zeros((0, 2)))
    plain: Any = Slot("features").build("popularity")
    state = plain.fit(log, nothing)
    asked = Candidates.of(np.ones((2, 8), dtype=bool), {})
    histories = Histories.of_items([[0, 7], [6]])
    found = FeatureOfCatalogue(plain, 6).values(state, asked, histories, nothing)
    was = plain.values(state, asked.keep(asked.item < 6), histories, nothing)
    for name, values in found.items():
        by_person = values.reshape(2, 8)
        assert np.isnan(by_person[:, 6:]).all()
        np.testing.assert_array_equal(by_person[:, :6].ravel(), was[name])


def test_a_ranker_of_features_ranks_new_items(tmp_path):
    """What counts is not known of them, and what reads texts knows them: by `bm25` a new text is as good as an old."""
    old = tastes_run()
    shutil.copytree(old.folder, tmp_path / "tastes")
    pipeline: Any = {"sources": ["model", "bm25", "content_knn", "ease"], "scorer": "lambdamart"}
    run = Run.create(replace(old.config, pipeline=TypeAdapter(PipelineSection).validate_python(pipeline)), tmp_path)
    rank(run.config, run)
    row = {"item_id": "n0", "title": "redcup word3", "categories": "redcup"}
    add(run, csv_file(tmp_path / "new.csv", [row]))
    path = Pipeline.load(run.folder)
    [slate] = path.recommend([Query(history=("i0", "i6", "i9"), k=46)])
    assert not any("failed" in why for why in slate.skipped.values())
    place = {item.item_id: i for i, item in enumerate(slate.items)}
    assert place["n0"] < 20
    trace = Trace()
    scores = path._ask("bm25", path.sources["bm25"], Histories.of_items([[0, 6, 9], [45]]), trace)
    at = {item: row for row, item in enumerate(path.item_ids)}
    assert scores[0, at["n0"]] == pytest.approx(scores[0, at["i3"]])
    assert scores[0, at["n0"]] > scores[0].min()
    np.testing.assert_allclose(scores[1, [at["i3"], at["i0"]]], scores[1, [at["n0"], at["i0"]]], rtol=1e-5)
    candidates, _ = path.retrieve(Histories.of_items([[0, 6, 9]]))
    described = path.described(candidates, Histories.of_items([[0, 6, 9]]))
    new = described.item == at["n0"]
    assert new.sum() == 1
    assert np.isnan(described.features["popularity.count"][new]).all()
    assert np.isfinite(described.features["popularity.count"][~new]).all()


def test_a_model_without_text_finds_no_new_item_and_the_command_says_so(tmp_path):
    old = tastes_run()
    shutil.copytree(old.folder, tmp_path / "tastes")
    run = Run.create(replace(old.config, model=replace(old.config.model, text=False)), tmp_path)
    done = add(run, csv_file(tmp_path / "new.csv", NEW))
    assert done.readers == ["content_knn"]
