"""Why an item is in a slate: the right event carries it, and what is added up is the score."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from finished import finished
from genre.additions import OfCatalogue
from genre.candidates import Candidates
from genre.commands.reasonsheet import print_explanations
from genre.component import Slot, component, names
from genre.data import Histories, Log
from genre.errors import GenreError
from genre.explaining import explain, explain_items, without_each
from genre.pipeline import Pipeline
from genre.reasons import OF_HISTORY, SOURCES, WORDS, cited_in
from genre.reranking import Reranker
from genre.sources import Resources
from genre.types import Carried, Query, Slate
from toyworld import circle, dataset

ITEMS = 20


@component
class Mute:
    """A scorer that sums the sources and does not say how."""

    reads: ClassVar[str] = "scores"
    negatives: ClassVar[None] = None
    most_people: ClassVar[int] = 0

    def score(self, state, candidates):
        return np.sum(list(candidates.scores.values()), axis=0, dtype=np.float32)


@component
class Broken:
    """Raises."""

    def fit(self, log, resources):
        return {}

    def score(self, state, histories, resources):
        raise RuntimeError("the index is gone")


@component
class Words:
    """Likes the item whose number the text says, and nothing else."""

    def fit(self, log, resources):
        return {}

    def score(self, state, histories, resources):
        said = np.zeros((len(histories), resources.items.num_rows), dtype=np.float32)
        for person, text in enumerate(histories.texts):
            if text is not None:
                said[person, resources.items["item_id"].to_pylist().index(text)] = 1
        return said


class Heads:
    """A model of two heads, one of which raises."""

    heads: ClassVar[dict[str, Any]] = {}
    ranking_head = None

    def predict(self, head, histories, items, owner=None):
        if head == "bad":
            raise RuntimeError("no such tower")
        return np.asarray(items, dtype=np.float32)


def pipeline(sources: dict[str, Any], weights: tuple[float, ...] | None = None, **parts: Any) -> Pipeline:
    """Sources fitted on the circle, weighed and summed."""
    data = dataset(circle(n_users=60, n_items=ITEMS, length=8))
    vectors = np.eye(ITEMS, dtype=np.float32)
    resources = Resources(data.items, lambda: vectors, lambda texts: vectors[: len(texts)])
    built = {name: Slot("sources").build(source) for name, source in sources.items()}
    made = Pipeline(
        data=data,
        resources=resources,
        sources=built,
        states={name: source.fit(Log.of(data), resources) for name, source in built.items()},
        filters={"seen": Slot("filters").build("seen")},
        scorer=Slot("scorers").build("weighted"),
        scorer_state={"weights": np.array(weights or [1.0] * len(sources), dtype=np.float32)},
    )
    return replace(made, **parts)


@cache
def walk() -> Pipeline:
    """Knows what comes next on the circle, and a little of what is chosen together and by many."""
    return pipeline({"transitions": "transitions", "ease": "ease", "popular": "popular"}, (1.0, 0.3, 0.1))


def asked(path: Pipeline, query: Query) -> Slate:
    return path.recommend([query])[0]


STROLL = Query(history=("i12", "i1", "i9", "i4"), k=3)


def test_the_latest_item_carries_the_one_that_follows_it():
    path = pipeline({"transitions": {"type": "transitions"}})
    slate = asked(path, STROLL)
    first = explain(path, slate)[0]
    assert first.item_id == slate.items[0].item_id == "i5"
    assert [first.carried[0].item_id, first.carried[0].age] == ["i4", 0]
    assert first.carried[0].change > 0
    assert first.carried[0].rank_without > 1
    assert all(abs(one.change) < first.carried[0].change / 5 for one in first.carried[1:])
    assert first.sentence.startswith("Because you chose redbag word4; people went on to it")
    assert "transitions, place 1" in first.sentence


def test_each_change_is_what_the_pipeline_says_of_the_same_candidates_without_the_event():
    path = walk()
    slate, ids = asked(path, STROLL), ["i12", "i1", "i9", "i4"]
    for one in explain(path, slate):
        assert len(one.carried) == 4
        assert [e.change for e in one.carried] == sorted((e.change for e in one.carried), reverse=True)
        for event in one.carried:
            rest = tuple(item for place, item in enumerate(ids) if place != 3 - event.age)
            assert ids[3 - event.age] == event.item_id
            whole, less = (path.hydrate([Query(history=h)]) for h in (tuple(ids), rest))
            candidates, _ = path.retrieve(whole)
            within = np.zeros((1, ITEMS), dtype=bool)
            within[0, candidates.item] = True
            scores = [path.score_block(h, within)[0][0] for h in (whole, less)]
            row = path.item_row(one.item_id)
            assert event.change == pytest.approx(scores[0][row] - scores[1][row], abs=1e-4)
            assert event.rank_without == (scores[1] > scores[1][row]).sum() + 1


def test_the_slate_and_the_explanation_tell_one_score_rank_and_origin():
    path = walk()
    slate = asked(path, Query(user_id="u3", k=6))
    for place, (item, one) in enumerate(zip(slate.items, explain(path, slate), strict=True), 1):
        assert one.score == pytest.approx(item.score, abs=1e-5)
        assert one.rank == one.scorer_rank == place
        assert {o.source: o.rank for o in one.origins if o.rank} == item.sources
        assert one.base == 0
        assert sum(one.terms.values()) == pytest.approx(one.score, abs=1e-5)
        for origin in one.origins:
            assert origin.adds == pytest.approx(one.terms[origin.source])
            assert origin.weight == pytest.approx({"transitions": 1.0, "ease": 0.3, "popular": 0.1}[origin.source])
        assert json.loads(json.dumps(asdict(one)))["item_id"] == item.item_id


@pytest.mark.parametrize("name", names("scorers"))
@pytest.mark.parametrize("top", [5, 40])
def test_the_terms_of_every_scorer_add_up_to_its_score(name: str, top: int):
    rng = np.random.default_rng(0)
    n = 300
    scores = {key: rng.normal(size=(n, 30)).astype(np.float32) for key in ("a", "b")}
    targets = [np.array([row], dtype=np.int32) for row in (scores["a"] * np.abs(scores["b"])).argmax(1)]
    plain = Candidates.of(rng.random((n, 30)) < 0.9, scores)
    feature = rng.normal(size=len(plain)).astype(np.float32)
    feature[::7] = np.nan
    candidates = replace(plain, features={"c": feature})
    settings = {"least": 5, "top": top} if name == "lambdamart" else {}
    scorer = Slot("scorers").build({"type": name, **settings})
    state = scorer.fit(candidates, candidates.holds(targets))
    places = rng.permutation(len(candidates))[:200]
    terms = scorer.terms(state, candidates, places)
    total = terms.base + sum(terms.weighed.values()) + sum(terms.trees.values())
    np.testing.assert_allclose(total, scorer.score(state, candidates)[places], rtol=1e-4, atol=1e-4)
    assert list(terms.weighed) == list(terms.weights) == ["a", "b"]
    if name == "lambdamart":
        assert list(terms.trees) == ["a", "b", "c"]
        read = np.abs(np.stack(list(terms.trees.values()))).sum(0) > 0
        assert read.any()
        assert read.all() == (top == 40)
        few = scorer.terms({"weights": state["weights"], "shares": state["shares"]}, candidates, places)
        assert few.trees == {}


def test_what_is_cited_matters_more_to_the_whole_path_than_what_is_not():
    path, rng = walk(), np.random.default_rng(0)
    cited, random = [], []
    for _ in range(30):
        ids = [f"i{i}" for i in rng.permutation(ITEMS)[:6]]
        first = explain(path, asked(path, Query(history=tuple(ids), k=1)))[0]
        for found, lost in ((cited, first.carried[0].item_id), (random, ids[rng.integers(6)])):
            rest = asked(path, Query(history=tuple(i for i in ids if i != lost), k=ITEMS))
            places = [item.item_id for item in rest.items]
            found.append(places.index(first.item_id) if first.item_id in places else ITEMS)
    assert np.mean(cited) > np.mean(random) + 1


def test_of_a_long_history_the_latest_events_are_left_out_and_it_says_so():
    path = walk()
    first = explain(path, asked(path, STROLL), latest=2)[0]
    assert {one.item_id for one in first.carried} == {"i9", "i4"}
    assert first.events == 4
    assert first.notes == ["only the latest 2 of 4 events were left out one by one"]


def test_a_text_is_left_out_like_an_event():
    path = pipeline({"words": f"{__name__}:Words", "popular": "popular"}, (1.0, 0.1))
    [first] = explain(path, asked(path, Query(text="i7", k=1)))
    assert first.item_id == "i7"
    assert [(one.item_id, one.title) for one in first.carried] == [(None, "i7")]
    assert first.carried[0].change > 0
    assert first.sentence.startswith("Because you said “i7”; a source proposes it (words, place 1)")
    both = explain(path, asked(path, Query(text="i7", history=("i1",), k=1)))[0]
    assert [one.item_id for one in both.carried] == [None, "i1"]
    assert first.events == 0


def test_where_nothing_is_known_it_says_so():
    path = walk()
    for query in (Query(history=(), k=2), Query(k=1)):
        first = explain(path, asked(path, query))[0]
        assert first.carried == []
        assert first.sentence.startswith("Nothing is known of you yet")
        assert "what you chose" not in first.sentence
        assert "nothing to say" in first.missing["ease"]
    assert explain(path, asked(path, Query(user_id="nobody", text="hello", k=1)))[0].carried[0].item_id is None


def test_what_nothing_speaks_for_is_told():
    path = pipeline({"popular": "popular"})
    first = explain(path, asked(path, STROLL))[0]
    assert {one.change for one in first.carried} == {0.0}
    assert first.sentence.startswith("Nothing that is known of you speaks for it; many choose it (popular, place 1)")


def test_what_failed_is_named():
    model = Heads()
    path = pipeline({"transitions": "transitions", "gone": f"{__name__}:Broken"}, heads=("good", "bad"))
    path = replace(path, resources=replace(path.resources, model=model))
    slate = asked(path, STROLL)
    assert slate.skipped["heads.bad"] == "failed: RuntimeError: no such tower"
    first = explain(path, slate)[0]
    assert first.missing == {
        "gone": "failed: RuntimeError: the index is gone",
        "heads.bad": "failed: RuntimeError: no such tower",
    }
    assert first.predictions == {"good": path.item_row("i5")} == slate.items[0].predictions
    assert [one.score for one in first.origins if one.source == "gone"] == [None]


def test_a_scorer_without_terms_says_so():
    path = pipeline({"transitions": "transitions"}, scorer=Mute())
    first = explain(path, asked(path, STROLL))[0]
    assert (first.base, first.terms) == (None, {})
    assert first.origins[0].weight is None
    assert first.notes == ["this scorer does not say what each column adds"]
    assert first.carried[0].item_id == "i4"


class Reader:
    """Says of an item how near its number is to that of the latest item read."""

    def predict(self, head, histories, items):
        latest = histories.item[histories.offsets[1:] - 1]
        return -np.abs(items - latest).astype(np.float32)


def test_the_top_read_again_is_part_of_the_score():
    plain = walk()
    path = replace(plain, reranker=Reranker(Reader(), "chosen", 4, float("inf")))  # type: ignore[arg-type]
    slate = asked(path, replace(STROLL, k=6))
    assert [one.item_id for one in slate.items] != [one.item_id for one in asked(plain, replace(STROLL, k=6)).items]
    found = explain(path, slate)
    assert [one.rank for one in found] == [1, 2, 3, 4, 5, 6]
    np.testing.assert_allclose([one.score for one in found], [one.score for one in slate.items], rtol=1e-5)
    moved = next(one for one in found if one.scorer_rank != one.rank)
    assert "reading the top again moved it" in moved.notes[0]
    assert found[-1].notes == []


def test_an_item_that_came_later_is_explained_and_explains():
    path = walk()
    longer = pa.concat_tables([path.data.items, pa.table({"item_id": ["new"], "title": ["a new one"]})])
    sources = {name: OfCatalogue(source, ITEMS) for name, source in path.sources.items()}
    resources = replace(path.resources, items=longer)
    path = replace(path, data=replace(path.data, items=longer), sources=sources, resources=resources)
    slate = asked(path, Query(history=("i4", "new"), k=2))
    first = explain(path, slate)[0]
    assert {one.item_id: one.change for one in first.carried}["new"] == pytest.approx(0, abs=1e-5)
    assert first.carried[0].item_id == "i4"
    assert "transitions, place 1" in first.sentence


def test_an_item_that_was_no_candidate_is_refused():
    path = walk()
    with pytest.raises(GenreError, match="item 'i4' is no candidate of this query"):
        explain(path, asked(path, STROLL), ["i4"])
    with pytest.raises(GenreError, match="no item 'i44'"):
        explain(path, asked(path, STROLL), ["i44"])
    assert explain_items(path, path.hydrate([STROLL]), []) == []
    assert explain(path, asked(path, STROLL), ["i10"])[0].item_id == "i10"


def test_in_chinese_the_same_is_said():
    path = walk()
    english, chinese = (explain(path, asked(path, STROLL), latest=2, language=one)[0] for one in ("en", "zh"))
    assert replace(english, sentence="", notes=[]) == replace(chinese, sentence="", notes=[])
    assert chinese.sentence.startswith("因为您选过《redbag word4》；其他人选过这些之后接着选了它")
    assert chinese.sentence.endswith("。")
    assert chinese.notes == ["共4条历史，只逐一去掉了最近的2条"]


def test_every_word_has_the_same_places_in_both_languages():
    import re

    for word, (english, chinese) in WORDS.items():
        assert set(re.findall(r"{(\w+)", english)) == set(re.findall(r"{(\w+)", chinese)), word
    assert set(SOURCES) <= set(names("sources"))
    assert set(SOURCES) >= OF_HISTORY


@given(st.lists(st.floats(-5, 5), max_size=6), st.floats(-10, 10))
def test_only_what_adds_is_cited(changes: list[float], score: float):
    carried = [Carried(f"i{i}", "", i, change, 1) for i, change in enumerate(sorted(changes, reverse=True))]
    cited = cited_in(carried, score)
    assert len(cited) <= 2
    assert all(one.change > 0 for one in cited)
    assert bool(cited) == any(change > 0 and change >= 1e-4 * abs(score) for change in changes)
    assert cited == carried[: len(cited)]


@given(st.lists(st.integers(0, 9), max_size=7), st.integers(1, 9), st.booleans())
def test_each_row_of_the_block_lacks_one_event(items: list[int], latest: int, spoken: bool):
    person = Histories.of_items([items], ["a text"] if spoken else None)
    block = without_each(person, latest)
    rows = [block.item[a:b].tolist() for a, b in zip(block.offsets[:-1], block.offsets[1:], strict=True)]
    n = min(len(items), latest)
    expected = [items[: len(items) - 1 - age] + items[len(items) - age :] for age in range(n)]
    assert rows == [items, *expected, *([items] if spoken else [])]
    assert block.texts == (*[person.texts[0]] * (n + 1), *([None] if spoken else []))


def test_the_benchmark_finds_that_the_circle_is_explained_by_what_was_cited():
    sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
    import explanations

    found = explanations.measured(walk(), users=12, places=2, seed=1, bootstrap=100)
    assert (found["users"], found["explained"]) == (12, 24)
    means = {way: {name: of["value"] for name, of in values.items()} for way, values in found["deleted"].items()}
    assert means["cited"]["score_fall"] > means["random"]["score_fall"] + 0.1
    assert means["cited"]["served_rank_fall"] > means["random"]["served_rank_fall"]
    assert means["latest"]["score_fall"] <= means["cited"]["score_fall"]
    assert all(
        one["verdict"] == "better"
        for one in found["comparisons"]
        if (one["b"], one["measure"]) == ("random", "score_fall")
    )
    scores = np.array([[3, 2, 1, -np.inf], [3, 3, 3, 0]], dtype=np.float32)
    ranks, gone = explanations.served_ranks(scores, 3)
    assert (ranks.tolist(), gone.tolist()) == ([4, 4], [1, 0])
    assert explanations.served_ranks(scores, 1)[0].tolist() == [2, 2]


def test_the_command_prints_and_writes_reasons(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    path = walk()
    print_explanations(explain(path, asked(path, STROLL)))
    printed = capsys.readouterr().out
    assert "Because you chose" in printed
    assert "the score falls by" in printed
    assert "popular" in printed
    from genre.cli import commands
    from genre.commands.display import slate_json

    slate = asked(path, STROLL)
    found = json.loads(slate_json(slate, path.data, explain(path, slate, language="zh")))
    assert found["items"][0]["explanation"]["sentence"].startswith("因为您选过")
    assert "explanation" not in json.loads(slate_json(slate, path.data))["items"][0]
    done = CliRunner().invoke(commands, ["recommend", str(tmp_path), "--user", "u1", "--explain", "--language", "fr"])
    assert done.exit_code == 2
    assert "'fr' is not one of" in done.output


def test_a_finished_run_explains_itself_on_the_command_line():
    from genre.cli import commands

    asked_for = ["recommend", str(finished().folder), "--history", "i3,i4,i5", "--k", "2", "--explain"]
    done = CliRunner().invoke(commands, asked_for)
    assert done.exit_code == 0, done.output
    assert "Because you chose" in done.output
    found = json.loads(CliRunner().invoke(commands, [*asked_for, "--json", "--language", "zh"]).output)
    first = found["items"][0]
    assert first["item_id"] == "i6"
    assert first["explanation"]["sentence"].startswith("因为您选过")
    assert first["explanation"]["score"] == pytest.approx(first["score"], abs=1e-4)
    assert first["explanation"]["predictions"] == pytest.approx(first["predictions"], abs=1e-4)
    assert first["explanation"]["carried"][0]["item_id"] == "i5"
