"""Features with known answers, and the stage that learns from them."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from finished import finished
from genre.candidates import Candidates
from genre.component import Slot
from genre.data import Histories, Log
from genre.errors import GenreError, RunError
from genre.pipeline import Pipeline
from genre.rank import rank
from genre.run import Run
from genre.sources import Resources
from genre.types import Query

DAY = 86400.0
ITEMS = pa.table(
    {
        "item_id": ["a", "b", "c", "d"],
        "title": ["a", "b", "c", "d"],
        "genres": [["x"], ["x", "y"], ["y"], None],
        "year": [1990, 2000, None, 2020],
    }
)
PEOPLE = pa.table({"user_id": ["f1", "f2", "m1", "m2"], "gender": ["F", "F", "M", "M"]})
VECTORS = np.array([[1, 0], [0.6, 0.8], [0, 1], [-1, 0]], dtype=np.float32)
RESOURCES = Resources(ITEMS, lambda: VECTORS, lambda texts: VECTORS[: len(texts)], users=PEOPLE)


def log_of(user, item, days):
    n = len(user)
    return Log(
        user=np.array(user, np.int32),
        item=np.array(item, np.int32),
        action=np.zeros(n, np.int32),
        value=np.arange(n, dtype=np.float32),
        time=np.array(days, dtype=np.float64) * DAY,
        impression=np.full(n, -1, np.int32),
        part=np.zeros(n, np.int8),
        n_users=4,
        n_items=4,
        actions=("view",),
    )


LOG = log_of([0, 0, 1, 2, 2, 3], [0, 1, 0, 2, 0, 2], [0, 10, 0, 20, 25, 30])


def asked(name, histories, log=LOG, resources=RESOURCES, scores=None, **settings):
    """The columns of a feature for all four items and each person: ``[people, items]`` by the end of its name."""
    feature = Slot("features").build({"type": name, **settings})
    shape = (len(histories), 4)
    candidates = Candidates.of(np.ones(shape, dtype=bool), scores or {"s": np.zeros(shape, dtype=np.float32)})
    found = feature.values(feature.fit(log, resources), candidates, histories, resources)
    return {column.removeprefix(f"{name}."): values.reshape(shape) for column, values in found.items()}


def test_history_knows_its_length_and_what_is_in_it():
    found = asked("history", Histories.of(LOG, np.array([0, 2])))
    np.testing.assert_allclose(found["length"], np.log1p(2))
    assert found["had"].tolist() == [[1, 1, 0, 0], [1, 0, 1, 0]]
    assert found["mean_value"][:, 0].tolist() == [0.5, 3.5]
    nobody = asked("history", Histories.of_items([[]]))
    assert np.isnan(nobody["mean_value"]).all()
    assert (nobody["had"] == 0).all()


def test_popularity_counts_all_and_the_latest_and_tells_the_age():
    found = asked("popularity", Histories.of_items([[]]), latest=0.4)
    np.testing.assert_allclose(found["count"][0], np.log1p([3, 1, 2, 0]))
    np.testing.assert_allclose(found["late"][0], np.log1p([1, 0, 2, 0]))
    np.testing.assert_allclose(found["age_days"][0], [30, 20, 10, np.nan])


def test_without_times_there_is_a_count_alone():
    timeless = replace(LOG, time=np.full(len(LOG), np.nan))
    assert list(asked("popularity", Histories.of_items([[]]), timeless)) == ["count"]
    assert asked("recency", Histories.of_items([[]]), timeless) == {}


def test_recency_sees_only_what_was_before_the_latest_event():
    found = asked("recency", Histories.of(LOG, np.array([0, 2])), days=10)
    # Person 0 is at day 10, in the second period: before it item 0 was chosen twice. Person 2, at 25: item 1.
    np.testing.assert_allclose(np.expm1(found["late"]), [[2, 0, 0, 0], [0, 1, 0, 0]])
    np.testing.assert_allclose(found["age_days"], [[10, 0, 0, np.nan], [25, 15, 5, np.nan]])
    assert np.isnan(asked("recency", Histories.of_items([[0]]))["late"]).all(), "a history without times"


def test_text_similarity_to_the_latest_the_nearest_and_all():
    found = asked("text_similarity", Histories.of_items([[0, 2], []]), window=2)
    np.testing.assert_allclose(found["last"][0], [0, 0.8, 1, 0], atol=1e-6)
    np.testing.assert_allclose(found["most"][0], [1, 0.8, 1, 0], atol=1e-6)
    np.testing.assert_allclose(found["mean"][0], [0.5, 0.7, 0.5, -0.5], atol=1e-6)
    assert np.isnan(found["last"][1]).all()
    alone = asked("text_similarity", Histories.of_items([[0, 2]]), window=1)
    np.testing.assert_allclose(alone["most"], alone["last"])


def test_finetuned_vectors_need_a_model():
    with pytest.raises(GenreError, match="vectors are finetuned, and there is no trained model"):
        asked("text_similarity", Histories.of_items([[0]]), vectors="finetuned")


def test_attributes_are_numbers_shared_words_and_what_people_alike_choose():
    found = asked("attributes", Histories.of(LOG, np.array([0, 2])), prior=1)
    np.testing.assert_allclose(found["year"][0], [1990, 2000, np.nan, 2020])
    # Person 0 had a (x) and b (x, y): x in all of it, y in half.
    np.testing.assert_allclose(found["genres.shared"][0], [1, 0.75, 0.5, np.nan])
    women, men = found["gender.liked"]
    assert women[0] > 0 > men[0], "women chose item 0 twice, men once"
    assert men[2] > 0 > women[2]
    assert np.isnan(asked("attributes", Histories.of_items([[0]]))["gender.liked"]).all(), "a person not in the data"


def test_standing_says_where_a_candidate_is_with_each_source():
    found = asked("standing", Histories.of_items([[]]), scores={"s": np.array([[3, 1, 1, 0]], dtype=np.float32)})
    np.testing.assert_allclose(np.expm1(found["s.rank"][0]), [1, 3, 3, 4], rtol=1e-5)
    assert found["s.behind"][0, 0] == 0
    np.testing.assert_allclose(found["s.behind"][0, 1], 2 / np.std([3, 1, 1, 0]), rtol=1e-5)


@pytest.fixture(scope="module")
def ranked(tmp_path_factory):
    """The circle's run with trees in place of weights."""
    folder = tmp_path_factory.mktemp("trees")
    whole = finished()
    scorer = Slot("scorers").build({"type": "lambdamart", "least": 5, "folds": 2})
    config = replace(whole.config, name="trees", pipeline=replace(whole.config.pipeline, scorer=scorer))
    run = Run.create(config, folder)
    for stage in ("data", "model"):
        shutil.copytree(whole.path(stage), run.path(stage))
    rank(config, run)
    return run


def test_the_stage_keeps_what_the_trees_learned_and_from_what(ranked):
    facts = json.loads((ranked.path("rank") / "scorer.json").read_text())
    assert facts["cases"] == facts["targets"] == 80
    assert 0 < facts["retrieved"] <= 80
    assert sum(facts["shares"].values()) == pytest.approx(1, abs=1e-3)
    assert {"model", "model.rank", "history.length", "text_similarity.last", "predictions.like"} <= set(facts["shares"])
    assert list(facts["shares"].values()) == sorted(facts["shares"].values(), reverse=True)


def test_trees_find_what_comes_next_on_the_circle(ranked):
    pipeline = Pipeline.load(ranked.folder)
    ids = pipeline.item_ids
    slates = pipeline.recommend([Query(history=(f"i{i}", f"i{i + 1}"), k=3) for i in range(10)])
    right = [slate.items[0].item_id == f"i{(i + 2) % len(ids)}" for i, slate in enumerate(slates)]
    assert np.mean(right) >= 0.8
    assert {"features", "scorer"} <= set(slates[0].seconds)


def test_a_damaged_feature_is_refused(ranked, tmp_path):
    copied = shutil.copytree(ranked.folder, tmp_path / "damaged")
    file = next((copied / "rank" / "features").glob("*.safetensors"))
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    with pytest.raises(RunError, match="its bytes differ"):
        Pipeline.load(copied)
