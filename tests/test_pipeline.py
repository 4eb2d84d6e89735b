"""The online path: what is asked, what is answered, and that nothing vanishes on the way."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from finished import finished
from genre.component import component
from genre.data import Histories, Log
from genre.errors import GenreError, RunError
from genre.filters import seen
from genre.pipeline import Pipeline, _candidates, named
from genre.scorers.weighted import Weighted
from genre.sources import Resources
from genre.sources.popular import Popular
from genre.states import load_state, save_state
from genre.types import Query
from toyworld import circle, dataset


@component
class Fixed:
    """Scores every person alike."""

    scores: tuple[float, ...] = ()

    def fit(self, log, resources):
        return {}

    def score(self, state, histories, resources):
        return np.tile(np.array(self.scores, dtype=np.float32), (len(histories), 1))


@component
class Broken:
    """Raises."""

    def fit(self, log, resources):
        return {}

    def score(self, state, histories, resources):
        raise RuntimeError("the index is gone")


def pipeline(sources: dict, n_items: int = 6, filters: dict | None = None) -> Pipeline:
    """Equal weights over ``sources`` for six users of a circle."""
    data = dataset(circle(n_users=12, n_items=n_items, length=4))
    nothing: Callable = lambda *_: np.zeros((n_items, 2), dtype=np.float32)  # noqa: E731
    resources = Resources(data.items, nothing, nothing)
    scorer = Weighted()
    return Pipeline(
        data=data,
        resources=resources,
        sources=sources,
        states={name: source.fit(Log.of(data), resources) for name, source in sources.items()},
        filters={"seen": seen.Seen()} if filters is None else filters,
        scorer=scorer,
        scorer_state={"weights": np.ones(len(sources), dtype=np.float32)},
    )


def ids(slate) -> list[str]:
    return [candidate.item_id for candidate in slate.items]


def test_best_unseen_items_come_first_with_their_provenance():
    path = pipeline({"a": Fixed(scores=(6, 5, 4, 3, 2, 1)), "b": Fixed(scores=(0, 0, 0, 0, 9, 8))})
    [slate] = path.recommend([Query(history=("i0",), k=3)])
    assert "i0" not in ids(slate)
    assert slate.items[0].item_id == "i4"
    assert slate.items[0].sources == {"a": 4, "b": 1}
    assert {c.item_id: c.sources for c in slate.items}.get("i1", {"a": 1}) == {"a": 1}
    assert slate.removed == {"seen": 1}
    assert slate.skipped == {}
    assert {"hydrate", "sources.a", "sources.b", "filters.seen", "scorer"} <= set(slate.seconds)


def test_scores_that_are_not_finite_sink():
    path = pipeline({"a": Fixed(scores=(np.nan, np.inf, -np.inf, 3, 2, 1))}, filters={})
    [slate] = path.recommend([Query(history=(), k=6)])
    assert ids(slate) == ["i3", "i4"], "the lowest finite score is where nothing is known"


def test_a_failing_source_is_named_and_the_others_answer():
    path = pipeline({"a": Fixed(scores=(6, 5, 4, 3, 2, 1)), "broken": Broken()})
    [slate] = path.recommend([Query(history=(), k=2)])
    assert ids(slate) == ["i0", "i1"]
    assert slate.skipped == {"broken": "failed: RuntimeError: the index is gone"}
    with pytest.raises(GenreError, match="broken failed: RuntimeError: the index is gone"):
        path.score_block(Histories.of_items([[]]))[1].insist()


def test_when_every_source_fails_the_reasons_are_told():
    with pytest.raises(GenreError, match="every source failed: broken: RuntimeError"):
        pipeline({"broken": Broken()}).recommend([Query(history=())])


def test_a_source_with_nothing_to_say_is_named_and_popular_answers():
    path = pipeline({"silent": Fixed(scores=(1,) * 6), "popular": Popular()}, filters={})
    [slate] = path.recommend([Query(k=3)])
    assert slate.skipped == {"silent": "nothing to say for this person"}
    counts = np.bincount(Log.of(path.data).item, minlength=6)
    assert [counts[int(item[1:])] for item in ids(slate)] == sorted(counts, reverse=True)[:3]


def test_each_query_of_a_batch_has_its_own_length_history_and_slate():
    path = pipeline({"a": Fixed(scores=(6, 5, 4, 3, 2, 1))})
    one, two, three = path.recommend(
        [Query(history=("i0", "i1"), k=1), Query(history=(), k=3), Query(user_id="u0", k=9)]
    )
    assert ids(one) == ["i2"]
    assert ids(two) == ["i0", "i1", "i2"]
    log = Log.of(path.data)
    had = {f"i{i}" for i in log.item[log.user == 0]}
    assert not had & set(ids(three))
    assert three.removed["seen"] == len(had - {"i5"}), "the source ranks i5 last, so it has not retrieved it"


@pytest.mark.parametrize(
    ("query", "message"),
    [
        (Query(user_id="u111"), "no user 'u111'; did you mean 'u11'"),
        (Query(user_id="zzzz"), "no user 'zzzz'; the data hold 12, such as u0, u1"),
        (Query(history=("i22",)), "no item 'i22'; did you mean 'i2'"),
        (Query(user_id="u1", k=0), "k is 0"),
    ],
)
def test_unknown_ids_are_told_with_a_suggestion(query, message):
    with pytest.raises(GenreError, match=message.replace("?", r"\?")):
        pipeline({"popular": Popular()}).recommend([query])


def test_a_history_or_text_answers_for_people_whom_the_data_do_not_hold():
    path = pipeline({"popular": Popular()})
    slates = path.recommend([Query(user_id="new", history=("i1",)), Query(user_id="new", text="a red cup")])
    assert all(slate.items for slate in slates)


def test_components_of_one_type_get_names_of_their_own():
    made = named([Popular(), Popular(top_k=5), Fixed(), Popular(top_k=6)])
    assert list(made) == ["popular", "popular_2", "Fixed", "popular_3"]


@given(
    scores=st.lists(st.lists(st.integers(0, 3), min_size=5, max_size=5), min_size=1, max_size=4),
    kept=st.lists(st.booleans(), min_size=5, max_size=5),
    top_k=st.integers(1, 6),
)
def test_candidates_are_the_best_that_may_be_shown_and_what_was_walked_over(scores, kept, top_k):
    values = np.array(scores, dtype=np.float32)
    mask = np.tile(np.array(kept), (len(values), 1))
    reached, lists = _candidates(values, mask, top_k)
    for row in range(len(values)):
        listed = lists[row][lists[row] >= 0]
        usable = [i for i in np.flatnonzero(mask[row]) if values[row, i] > values[row].min()]
        assert len(listed) == min(top_k, len(usable))
        assert set(listed) == set(np.flatnonzero(reached[row] & mask[row]))
        left = set(usable) - set(listed)
        assert all(values[row, i] <= values[row, listed].min() for i in left)
        walked = np.flatnonzero(reached[row] & ~mask[row])
        assert len(listed) < top_k or all(values[row, i] >= values[row, listed].min() for i in walked)


def test_a_finished_run_recommends_the_next_item_on_the_circle():
    path = Pipeline.load(finished().folder)
    [slate] = path.recommend([Query(history=("i3", "i4", "i5"), k=3)])
    assert slate.items[0].item_id == "i6"
    assert set(slate.items[0].predictions) == {"next", "rating", "like"}
    assert 0 <= slate.items[0].predictions["like"] <= 1
    assert "model" in slate.items[0].sources


def test_serving_and_evaluation_give_one_answer():
    path = Pipeline.load(finished().folder)
    histories = Histories.of(path.log, np.arange(5, dtype=np.int32))
    scores, _ = path.score_block(histories)
    slates = path.recommend([Query(user_id=f"u{i}", k=3) for i in range(5)])
    users = path.data.users["user_id"].to_pylist()[:5]
    assert users == [f"u{i}" for i in range(5)]
    for row, slate in zip(scores, slates, strict=True):
        best = sorted(range(len(row)), key=lambda i: (-row[i], i))[: len(slate.items)]
        assert ids(slate) == [path.item_ids[i] for i in best]


def test_a_changed_byte_is_noticed(tmp_path):
    import shutil

    copy = tmp_path / "run"
    shutil.copytree(finished().folder, copy)
    file = copy / "rank" / "scorer.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.raises(RunError, match="its bytes differ"):
        Pipeline.load(copy)


def test_a_pipeline_older_than_its_model_is_refused(tmp_path):
    import json
    import shutil

    copy = tmp_path / "run"
    shutil.copytree(finished().folder, copy)
    path = copy / "rank" / "manifest.json"
    manifest = json.loads(path.read_text())
    path.write_text(json.dumps({**manifest, "model": "another"}))
    with pytest.raises(RunError, match=r"made from another model .* run 'genre rank' again"):
        Pipeline.load(copy)


@given(
    dense=st.lists(st.floats(-1e6, 1e6, width=32), max_size=6),
    rows=st.integers(1, 4),
    columns=st.integers(1, 4),
    layout=st.sampled_from(["csr", "csc"]),
)
def test_states_come_back_as_they_were(tmp_path_factory, dense, rows, columns, layout):
    matrix = sparse.random(rows, columns, 0.5, format=layout, dtype=np.float32, rng=np.random.default_rng(0))
    state = {"dense": np.array(dense, dtype=np.float32), "sparse": matrix, "one": np.array(3, dtype=np.int64)}
    path = tmp_path_factory.mktemp("state") / "s.safetensors"
    save_state(path, state)
    back = load_state(path)
    assert set(back) == set(state)
    np.testing.assert_array_equal(back["dense"], state["dense"])
    assert back["one"].shape == ()
    assert back["one"] == 3
    assert back["sparse"].format == layout
    assert back["sparse"].shape == matrix.shape
    np.testing.assert_array_equal(back["sparse"].toarray(), matrix.toarray())


def test_a_state_is_mapped_and_its_file_never_written_to(tmp_path):
    save_state(
        tmp_path / "s.safetensors",
        {"wide": np.ones((3, 4)), "flag": np.array([True]), "small": np.array([1, 2], np.int8)},
    )
    state = load_state(tmp_path / "s.safetensors")
    owner = state["wide"]
    while isinstance(owner, np.ndarray) and not isinstance(owner, np.memmap):
        owner = owner.base
    assert isinstance(owner, np.memmap)
    state["wide"] *= 2
    back = load_state(tmp_path / "s.safetensors")
    np.testing.assert_array_equal(back["wide"], np.ones((3, 4)))
    assert back["small"].tolist() == [1, 2]
    assert back["flag"].dtype == np.bool_


def test_a_state_of_anything_else_is_refused(tmp_path):
    with pytest.raises(TypeError, match="'names' is list"):
        save_state(tmp_path / "s.safetensors", {"names": ["a"]})
    (tmp_path / "t.safetensors").write_bytes(b"not a state")
    with pytest.raises(RunError, match="cannot be read"):
        load_state(tmp_path / "t.safetensors")


def test_the_filters_that_removed_an_item_are_counted_once():
    @component
    class Never:
        """Takes out item 1."""

        def keep(self, histories, items: pa.Table):
            mask = np.ones((len(histories), items.num_rows), dtype=bool)
            mask[:, 1] = False
            return mask

    path = pipeline({"a": Fixed(scores=(6, 5, 4, 3, 2, 1))}, filters={"seen": seen.Seen(), "never": Never()})
    [slate] = replace(path).recommend([Query(history=("i0", "i1"), k=2)])
    assert slate.removed == {"seen": 2, "never": 0}
    [slate] = path.recommend([Query(history=("i0",), k=2)])
    assert slate.removed == {"seen": 1, "never": 1}
