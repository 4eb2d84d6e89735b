"""Indexes: what is exact is exact, what is near says how near, and a pipeline through them answers as without."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import sparse

from finished import finished
from genre.component import Slot, component, name_of, names
from genre.data import Histories, Log
from genre.filters.attribute import Attribute
from genre.filters.seen import Seen
from genre.nearest import exact, recall, rescored
from genre.pipeline import Pipeline
from genre.rank import rank
from genre.ranking import ranks, ranks_and_lists, top_lists
from genre.run import Run
from genre.scorers.weighted import Weighted
from genre.searching import build, opened, vectors_of, with_added
from genre.sources import Resources, Vectors
from genre.sources.content_knn import ContentKNN
from genre.sources.popular import Popular
from genre.states import load_state, save_state
from genre.types import Query
from toyworld import circle, config, dataset

SMALL = st.integers(-3, 3).map(float)
NEAR = [name for name in names("indexes") if name in ("exact", "auto") or find_spec("faiss")]


def clustered(n: int, dim: int = 32, seed: int = 0) -> np.ndarray:
    """Vectors around a few centres, as those of texts are."""
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((20, dim))
    return (centres[rng.integers(0, 20, n)] + 0.7 * rng.standard_normal((n, dim))).astype(np.float32)


@settings(deadline=None)
@given(
    vectors=hnp.arrays(np.float32, st.tuples(st.integers(1, 30), st.just(3)), elements=SMALL),
    queries=hnp.arrays(np.float32, st.tuples(st.integers(1, 4), st.just(3)), elements=SMALL),
    k=st.integers(1, 40),
)
def test_exact_search_is_a_full_sort_with_equal_ones_in_order(vectors, queries, k):
    rows, scores = exact(vectors, queries, k)
    assert rows.shape == scores.shape == (len(queries), k)
    for query, found, values in zip(queries, rows, scores, strict=True):
        products = vectors @ query
        expected = sorted(range(len(vectors)), key=lambda i: (-products[i], i))[:k]
        assert found[found >= 0].tolist() == expected
        assert values[: len(expected)].tolist() == products[expected].tolist()
        assert np.isneginf(values[len(expected) :]).all()


@settings(deadline=None)
@given(
    vectors=hnp.arrays(np.float32, st.tuples(st.integers(1, 30), st.just(3)), elements=SMALL),
    found=st.lists(st.integers(-1, 29), min_size=1, max_size=20),
    k=st.integers(1, 25),
)
def test_rescoring_sorts_what_was_found_and_counts_nothing_twice(vectors, found, k):
    given_rows = np.minimum(np.array([found]), len(vectors) - 1)
    query = np.array([[1.0, 2.0, -1.0]], dtype=np.float32)
    [rows], [scores] = rescored(vectors, query, given_rows, k)
    products = vectors @ query[0]
    expected = sorted({int(i) for i in given_rows[0] if i >= 0}, key=lambda i: (-products[i], i))[:k]
    assert rows[rows >= 0].tolist() == expected
    assert scores[: len(expected)].tolist() == products[expected].tolist()


@pytest.mark.parametrize("name", NEAR)
def test_an_index_finds_most_of_what_is_near_with_exact_products(name, tmp_path):
    vectors, queries = np.split(clustered(12_050), [12_000])
    index = Slot("indexes").build({"type": "ivf_pq", "code": 16} if name == "ivf_pq" else name)
    save_state(tmp_path / "state.safetensors", index.build(vectors))
    search = index.open(load_state(tmp_path / "state.safetensors"), vectors)
    rows, scores = search(queries, 20)
    true, _ = exact(vectors, queries, 20)
    assert recall(rows, true) > 0.9
    np.testing.assert_allclose(scores, np.take_along_axis(queries @ vectors.T, rows, 1), rtol=1e-4)
    assert (np.diff(scores, axis=1) <= 0).all()
    again = index.open(load_state(tmp_path / "state.safetensors"), vectors)(queries, 20)
    np.testing.assert_array_equal(again[0], rows)


@pytest.mark.parametrize("name", NEAR)
def test_an_index_of_few_vectors_finds_them_all(name):
    vectors = clustered(5)
    index = Slot("indexes").build(name)
    rows, scores = index.open(index.build(vectors), vectors)(vectors[:2], 8)
    assert [sorted(row[row >= 0].tolist()) for row in rows] == [[0, 1, 2, 3, 4]] * 2
    assert np.isneginf(scores[:, 5:]).all()


def test_a_wider_search_finds_more():
    pytest.importorskip("faiss")
    vectors, queries = np.split(clustered(12_050), [12_000])
    true, _ = exact(vectors, queries, 100)
    for narrow, wide in (
        ({"type": "hnsw", "links": 4, "width": 1}, {"type": "hnsw", "links": 4, "width": 2000}),
        ({"type": "ivf_pq", "code": 2, "probes": 1}, {"type": "ivf_pq", "code": 2, "probes": 200}),
    ):
        found = []
        for one in (narrow, wide):
            index = Slot("indexes").build(one)
            found.append(recall(index.open(index.build(vectors), vectors)(queries, 100)[0], true))
        assert found[0] < found[1]


def test_auto_chooses_by_size_and_says_why(monkeypatch):
    auto = Slot("indexes").build({"type": "auto", "exact_up_to": 10, "hnsw_up_to": 20})
    monkeypatch.setattr("genre.indexes.auto.find_spec", lambda name: name)
    assert [name_of(auto.chosen(n)[0]) for n in (10, 11, 20, 21)] == ["exact", "hnsw", "hnsw", "ivf_pq"]
    assert auto.chosen(11)[1] == "auto: more than 10 items"
    monkeypatch.setattr("genre.indexes.auto.find_spec", lambda name: None)
    assert name_of(auto.chosen(11)[0]) == "exact"
    assert "not installed" in auto.chosen(11)[1]


def test_added_vectors_are_found_beside_those_of_the_index():
    vectors, queries = clustered(60), clustered(7, seed=1)
    search = with_added(lambda q, k: exact(vectors[:40], q, k), vectors[40:], 40)
    for found, expected in zip(search(queries, 9), exact(vectors, queries, 9), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_what_an_index_misses_is_measured_on_real_questions():
    vectors = clustered(300)
    asked = Histories.of_items([[i] for i in range(30)] + [[]])
    of: Callable = lambda histories: vectors[histories.item]  # noqa: E731

    @component
    class Half:
        """Finds even rows only."""

        def build(self, vectors):
            return {"nothing": np.zeros(3, dtype=np.int8)}

        def open(self, state, vectors):
            def search(queries, k):
                rows, scores = exact(vectors[::2], queries, k)
                return rows * 2, scores

            return search

    built = build(Half(), Vectors(vectors, of), asked, 10, seed=0)
    true, _ = exact(vectors, vectors[:30], 10)
    assert built.facts["recall"] == pytest.approx((true % 2 == 0).mean(), abs=1e-5)
    assert (built.facts["asked"], built.facts["k"], built.facts["bytes"]) == (30, 10, 3)
    assert f"{built.facts['recall']:.1%}" in built.sentence


# A pipeline through indexes answers as one that scores all.


@component
class Dots:
    """Inner products of small whole numbers, with many ties; says nothing of people with an even first item."""

    top_k: int = 3
    seed: int = 0

    def fit(self, log, resources):
        rng = np.random.default_rng(self.seed)
        return {"vectors": rng.integers(-2, 3, (resources.items.num_rows, 3)).astype(np.float32)}

    def vectors(self, state, resources):
        return Vectors(state["vectors"], lambda histories: self.people(state, histories))

    def people(self, state, histories):
        table = histories.matrix(len(state["vectors"])).toarray()
        return (table @ state["vectors"]).astype(np.float32)

    def score(self, state, histories, resources):
        return self.people(state, histories) @ state["vectors"].T


def worlds(n_items: int, sources: dict, filters: dict) -> tuple[Pipeline, Pipeline]:
    """The same pipeline without indexes, and with exact ones."""
    data = dataset(circle(n_users=12, n_items=n_items, length=4))
    vectors = np.random.default_rng(1).integers(-2, 3, (n_items, 4)).astype(np.float32)
    resources = Resources(data.items, lambda: vectors, lambda texts: vectors[: len(texts)])
    states = {name: source.fit(Log.of(data), resources) for name, source in sources.items()}
    weights = np.ones(len(sources), dtype=np.float32)
    plain = Pipeline(data, resources, sources, states, filters, Weighted(), {"weights": weights})
    index, searches = Slot("indexes").build("exact"), {}
    for name, source in sources.items():
        found = vectors_of(source, states[name], resources)
        if found is not None:
            searches[name] = index.open({}, found.items)
    return plain, replace(plain, searches=searches)


FILTERS = st.sampled_from(
    [{}, {"seen": Seen()}, {"seen": Seen(), "attribute": Attribute(column="item_id", never=("i0", "i1", "i2", "i5"))}]
)


@settings(deadline=None, max_examples=60)
@given(
    n_items=st.integers(5, 80),
    top_k=st.integers(1, 12),
    seed=st.integers(0, 5),
    filters=FILTERS,
    lists=st.lists(st.lists(st.integers(0, 4), max_size=4), min_size=5, max_size=8),
)
def test_through_an_exact_index_candidates_are_those_of_the_table(n_items, top_k, seed, filters, lists):
    sources = {"dots": Dots(top_k=top_k, seed=seed), "popular": Popular(top_k=3), "more": Dots(seed=seed + 1)}
    plain, indexed = worlds(n_items, sources, filters)
    histories = Histories.of_items(lists)
    (one, traced), (two, traced_too) = plain.retrieve(histories), indexed.retrieve(histories)
    assert set(indexed.searches) == {"dots", "more"}
    np.testing.assert_array_equal(one.offsets, two.offsets)
    np.testing.assert_array_equal(one.item, two.item)
    for name in sources:
        np.testing.assert_array_equal(one.scores[name], two.scores[name])
        np.testing.assert_array_equal(traced.lists[name], traced_too.lists[name])
        np.testing.assert_array_equal(traced.silent[name], traced_too.silent[name])
    assert set(traced.removed) == set(traced_too.removed) == set(filters)
    for name in filters:
        np.testing.assert_array_equal(traced.removed[name], traced_too.removed[name])


@settings(deadline=None, max_examples=40)
@given(n_items=st.integers(5, 40), filters=FILTERS, lists=st.lists(st.integers(0, 4), max_size=4))
def test_one_person_is_answered_as_among_many(n_items, filters, lists):
    plain, indexed = worlds(n_items, {"dots": Dots(), "popular": Popular(), "more": Dots(seed=2, top_k=4)}, filters)
    many = Histories.of_items([lists] * 6)
    alone, together = plain.retrieve(many.take(slice(0, 1)))[0], plain.retrieve(many)[0]
    mine = slice(0, together.offsets[1])
    np.testing.assert_array_equal(alone.item, together.item[mine])
    for name, values in alone.scores.items():
        np.testing.assert_allclose(values, together.scores[name][mine], rtol=1e-5, atol=1e-6)
    query = Query(history=tuple(f"i{i}" for i in lists), k=5)
    [one], [two] = plain.recommend([query]), indexed.recommend([query])
    assert {c.item_id for c in one.items} == {c.item_id for c in two.items}
    assert one.removed == two.removed
    scores, _ = plain.score_block(many.take(slice(0, 1)))
    best = top_lists(scores, np.isfinite(scores), 5)[0]
    assert [c.item_id for c in one.items] == [f"i{i}" for i in best if i >= 0]


def test_a_source_that_fails_behind_its_index_is_named():
    sources = {"dots": Dots(), "popular": Popular()}
    _, indexed = worlds(8, sources, {})

    @component
    class Broken(Dots):
        """Raises when it is asked of people."""

        def people(self, state, histories):
            raise RuntimeError("the vectors are gone")

    [slate] = replace(indexed, sources={**sources, "dots": Broken()}).recommend([Query(history=("i1",), k=2)])
    assert slate.skipped == {"dots": "failed: RuntimeError: the vectors are gone"}
    assert len(slate.items) == 2


@settings(deadline=None)
@given(
    scores=hnp.arrays(
        np.float32,
        st.tuples(st.integers(1, 6), st.integers(2, 40)),
        elements=st.sampled_from([0.0, 1.0, 2.0, 3.0, np.nan, np.inf, -np.inf]),
    ),
    k=st.integers(0, 50),
    data=st.data(),
)
def test_ranks_and_lists_of_one_pass_are_those_of_two(scores, k, data):
    b, n = scores.shape
    pick = st.lists(st.integers(0, n - 1), min_size=1, max_size=min(4, n), unique=True)
    targets = [np.array(data.draw(pick)) for _ in range(b)]
    hidden = data.draw(hnp.arrays(np.bool_, (b, n)))
    found, lists, sizes = ranks_and_lists(scores, sparse.csr_matrix(hidden.astype(np.float32)), targets, k)
    for one, two in zip(found, ranks(scores, ~hidden, targets), strict=True):
        np.testing.assert_array_equal(one, two)
    np.testing.assert_array_equal(lists, top_lists(scores, ~hidden, k))
    np.testing.assert_array_equal(sizes, (~hidden).sum(1))


def test_a_run_is_ranked_with_an_index_that_finds_the_items_added_later(tmp_path, capsys):
    pytest.importorskip("faiss")
    whole = finished()
    folder = tmp_path / "circle"
    shutil.copytree(whole.folder, folder)
    run = Run.open(folder)
    conf = replace(run.config, pipeline=replace(run.config.pipeline, index=Slot("indexes").build("hnsw")))
    rank(conf, replace(run, config=conf))
    assert "model: 20 items through hnsw (as set in pipeline.index); finds 100.0%" in capsys.readouterr().out
    facts = json.loads((folder / "rank" / "settings.json").read_text())
    assert facts["model"]["index"]["recall"] == 1
    assert "index" not in facts["popular"]
    indexed, plain = Pipeline.load(folder), Pipeline.load(whole.folder)
    assert set(indexed.searches) == {"model"}
    assert plain.searches == {}
    queries = [Query(user_id=f"u{i}", k=5) for i in range(6)]
    for one, two in zip(indexed.recommend(queries), plain.recommend(queries), strict=True):
        assert [c.item_id for c in one.items] == [c.item_id for c in two.items]
    model = indexed.resources.model
    nearer = np.concatenate([model.vectors.numpy(), 3 * model.vectors.numpy()[:1]])
    grown = replace(indexed.resources, model=replace(model, vectors=nearer_tensor(nearer)))
    settings_of = json.loads((folder / "rank" / "settings.json").read_text())
    search = opened(folder / "rank", settings_of, indexed.sources, indexed.states, grown)["model"]
    assert search(nearer[:1], 1)[0].tolist() == [[20]]
    others = replace(indexed.resources, model=replace(model, vectors=nearer_tensor(nearer * 1.01)))
    assert opened(folder / "rank", settings_of, indexed.sources, indexed.states, others) == {}


def nearer_tensor(values: np.ndarray):
    """As the model holds its vectors."""
    import torch

    return torch.from_numpy(values)


def test_the_configuration_takes_an_index_by_name():
    assert name_of(config({"type": "minilm"}, pipeline={"index": "ivf_pq"}).pipeline.index) == "ivf_pq"
    assert name_of(config({"type": "minilm"}).pipeline.index) == "auto"


def test_vectors_of_a_source_are_its_scores():
    path = Pipeline.load(finished().folder)
    histories = Histories.of(path.log, np.arange(5, dtype=np.int32))
    text = ContentKNN()
    vectors = clustered(path.data.items.num_rows)
    resources = replace(path.resources, text_vectors=lambda: vectors)
    for source, state in ((path.sources["model"], {}), (text, text.fit(path.log, resources))):
        found = vectors_of(source, state, resources)
        assert found is not None
        np.testing.assert_allclose(
            found.of(histories) @ found.items.T, source.score(state, histories, resources), rtol=1e-5, atol=1e-6
        )
    assert vectors_of(path.sources["popular"], path.states["popular"], path.resources) is None


def test_a_model_keeps_the_vectors_of_the_people_it_was_just_asked_of_and_of_no_others():
    model, fresh = (Pipeline.load(finished().folder).resources.model for _ in range(2))
    one, two = Histories.of_items([[1, 2]]), Histories.of_items([[3, 4]])
    first = model.user_vectors(one)
    assert model.user_vectors(one) is first
    np.testing.assert_array_equal(model.user_vectors(two).numpy(), fresh.user_vectors(two).numpy())
    np.testing.assert_array_equal(model.user_vectors(Histories.of_items([[1, 2]])).numpy(), first.numpy())
