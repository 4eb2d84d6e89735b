"""Scorers and filters with known answers."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genre.candidates import Candidates
from genre.component import Slot
from genre.data import Histories
from genre.errors import ConfigError

PEOPLE, ITEMS = 200, 30


@pytest.fixture(scope="module")
def world():
    """One source knows what comes next, one is noise, one is constant."""
    rng = np.random.default_rng(0)
    targets = [rng.integers(0, ITEMS, 1) for _ in range(PEOPLE)]
    good = rng.normal(size=(PEOPLE, ITEMS)).astype(np.float32)
    good[np.arange(PEOPLE), np.concatenate(targets)] += 2
    noise = (1000 * rng.normal(size=(PEOPLE, ITEMS))).astype(np.float32)
    scores = {"good": good, "noise": noise, "constant": np.ones((PEOPLE, ITEMS), dtype=np.float32)}
    candidates = Candidates.of(np.ones((PEOPLE, ITEMS), dtype=bool), scores)
    return candidates, candidates.holds(targets)


def of_one(**scores):
    """Candidates of one person, by their scores."""
    return Candidates.of(
        np.ones((1, len(next(iter(scores.values())))), dtype=bool),
        {name: np.array([values], dtype=np.float32) for name, values in scores.items()},
    )


def test_weights_are_learned_whatever_the_scale(world):
    scorer = Slot("scorers").build("weighted")
    state = scorer.fit(*world)
    good, noise, _ = state["weights"]
    assert good > 10 * abs(noise)
    np.testing.assert_array_equal(state["weights"], scorer.fit(*world)["weights"])
    assert scorer.shares(state)[0] > 0.9


def test_the_gradient_of_the_weights_is_right(world):
    from genre.weighing import loss, standardised_scores

    candidates, chosen = world
    twice = chosen | (candidates.item == 3)
    stack = standardised_scores(candidates)
    arguments = (stack, candidates, twice, 1e-3)
    at = np.array([0.3, -0.1, 0.2])
    _, gradient = loss(at, *arguments)
    for i in range(3):
        step = np.eye(3)[i] * 1e-3
        slope = (loss(at + step, *arguments)[0] - loss(at - step, *arguments)[0]) / 2e-3
        assert gradient[i] == pytest.approx(slope, abs=1e-3)


@pytest.mark.parametrize("name", ["weighted", "reciprocal_rank"])
def test_a_score_that_is_not_finite_never_leads(world, name):
    candidates, chosen = world
    scorer = Slot("scorers").build(name)
    state = scorer.fit(candidates, chosen)
    odd = {key: score.copy() for key, score in candidates.scores.items()}
    for score in odd.values():
        score[candidates.item == 0] = np.nan
    total = scorer.score(state, replace(candidates, scores=odd))
    assert np.isfinite(total).all()
    assert (candidates.places(total)[candidates.item == 0] > 1).all()


def test_given_weights_are_taken_as_they_are():
    scorer = Slot("scorers").build({"type": "weighted", "weights": {"a": 1.0, "b": 0.0}})
    one = of_one(a=[0.0, 1.0], b=[9.0, 1.0])
    assert scorer.score(scorer.fit(one, one.item == 0), one).argmax() == 1


def test_ranks_fuse_as_the_formula_says():
    found = Slot("scorers").build("reciprocal_rank").score({}, of_one(a=[3.0, 2.0, 1.0], b=[1.0, 3.0, 2.0]))
    np.testing.assert_allclose(found, [1 / 61 + 1 / 63, 1 / 62 + 1 / 61, 1 / 63 + 1 / 62], rtol=1e-5)


def test_trees_learn_when_to_trust_which_source():
    """With a short history one source is right, with a long one the other: no weighing knows that, trees do."""
    rng = np.random.default_rng(0)
    n = 1500
    targets = [rng.integers(0, ITEMS, 1) for _ in range(n)]
    long = rng.random(n) < 0.5
    scores = {name: rng.normal(size=(n, ITEMS)).astype(np.float32) for name in ("order", "taste")}
    for i, target in enumerate(targets):
        scores["taste" if long[i] else "order"][i, target] += 2.5
    plain = Candidates.of(np.ones((n, ITEMS), dtype=bool), scores)
    length = np.where(long, 30, 2).astype(np.float32)[plain.owner]
    candidates = replace(plain, features={"length": length})
    chosen = candidates.holds(targets)
    learn = np.arange(n) < 1000
    found = {}
    for name in ("weighted", "lambdamart"):
        scorer = Slot("scorers").build(name)
        state = scorer.fit(candidates.of_people(learn), chosen[learn[candidates.owner]])
        rest = candidates.of_people(~learn)
        found[name] = np.mean(rest.places(scorer.score(state, rest))[chosen[~learn[candidates.owner]]] == 1)
        if name == "lambdamart":
            assert scorer.shares(state)[2] > 0.02, "it looks at the length"
    assert found["lambdamart"] > found["weighted"] + 0.1


@pytest.mark.parametrize("top", [1, 7, ITEMS])
def test_trees_read_the_best_of_what_they_start_from_and_the_rest_stays_below_in_its_order(top):
    rng = np.random.default_rng(3)
    n = 200
    scores = {name: rng.normal(size=(n, ITEMS)).astype(np.float32) for name in ("a", "b")}
    targets = [np.array([row], dtype=np.int32) for row in (scores["a"] * np.abs(scores["b"])).argmax(1)]
    candidates = Candidates.of(np.ones((n, ITEMS), dtype=bool), scores)
    state = Slot("scorers").build({"type": "lambdamart", "least": 5}).fit(candidates, candidates.holds(targets))
    assert "trees0" in state
    whole = Slot("scorers").build({"type": "lambdamart", "top": ITEMS}).score(state, candidates).reshape(n, -1)
    start = Slot("scorers").build({"type": "lambdamart", "start": 1.0}).score({"weights": state["weights"]}, candidates)
    said = Slot("scorers").build({"type": "lambdamart", "top": top}).score(state, candidates).reshape(n, -1)
    for mended, complete, begun in zip(said, whole, start.reshape(n, -1), strict=True):
        order = np.argsort(-begun, kind="stable")
        best, rest = order[:top], order[top:]
        assert np.allclose(mended[best], complete[best])
        assert (np.diff(mended[rest]) < 0).all()
        assert mended[rest].max(initial=-np.inf) < mended[best].min()


def test_where_next_to_nobody_teaches_trees_are_left_out():
    scorer = Slot("scorers").build("lambdamart")
    one = of_one(a=[0.0, 1.0, 0.0], b=[0.0, 9.0, 1.0])
    state = scorer.fit(one, one.item == 1)
    assert set(state) == {"weights", "shares"}
    assert scorer.score(state, one).argmax() == 1


def test_seen_takes_out_the_history():
    items = pa.table({"item_id": list("abc")})
    kept = Slot("filters").build("seen").keep(Histories.of_items([[0, 2], []]), items)
    assert kept.tolist() == [[False, True, False], [True, True, True]]


def test_attribute_keeps_and_takes_out_by_value():
    items = pa.table({"item_id": list("abcd"), "categories": [["x"], ["x", "y"], ["z"], None]})
    nobody = Histories.of_items([[]])
    only = Slot("filters").build({"type": "attribute", "only": ["x", "z"], "never": ["y"]})
    assert only.keep(nobody, items).tolist() == [[True, False, True, False]]
    with pytest.raises(ConfigError, match="no column 'category'; did you mean 'categories'"):
        Slot("filters").build({"type": "attribute", "column": "category"}).keep(nobody, items)


def test_a_source_with_nothing_to_say_moves_nothing_by_rank():
    rng = np.random.default_rng(0)
    good = rng.normal(size=(20, 12)).astype(np.float32)
    sparse = np.zeros((20, 12), dtype=np.float32)
    sparse[:, 5] = 1
    allowed = rng.random((20, 12)) < 0.7
    scorer = Slot("scorers").build("reciprocal_rank")
    alone = scorer.score({}, Candidates.of(allowed, {"good": good}))
    both = Candidates.of(allowed, {"good": good, "silent": np.zeros_like(good)})
    np.testing.assert_array_equal(both.places(alone), both.places(scorer.score({}, both)))
    tied = Candidates.of(np.ones_like(allowed), {"sparse": sparse})
    scores = tied.spread(scorer.score({}, tied), 12)
    assert (scores[:, 5] > scores[:, 0]).all()
    assert (np.delete(scores, 5, 1) == scores[:, :1]).all()


@st.composite
def people(draw):
    """A few people with some candidates each, often none, and scores with ties."""
    lengths = draw(st.lists(st.integers(0, 6), min_size=1, max_size=5))
    values = draw(st.lists(st.integers(-3, 3), min_size=sum(lengths), max_size=sum(lengths)))
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    items = np.concatenate([np.arange(n) for n in lengths]).astype(np.int32)
    return Candidates(offsets, items, {"a": np.array(values, dtype=np.float32)})


@given(people())
def test_places_totals_and_best_are_those_of_each_person_alone(candidates):
    values = candidates.scores["a"]
    places, best, total = candidates.places(values), candidates.best(values), candidates.total(values)
    standard = candidates.standardised(values)
    for i, (a, b) in enumerate(zip(candidates.offsets[:-1], candidates.offsets[1:], strict=True)):
        mine = values[a:b]
        assert places[a:b].tolist() == [(mine >= one).sum() for one in mine]
        assert best[i] == mine.max(initial=-np.inf)
        assert total[i] == mine.sum()
        if len(set(mine.tolist())) > 1:
            np.testing.assert_allclose(standard[a:b], (mine - mine.mean()) / mine.std(), rtol=1e-5, atol=1e-6)
        else:
            assert (standard[a:b] == 0).all()


@given(people(), st.integers(0, 4))
def test_thinning_keeps_what_was_chosen_and_so_many_others(candidates, most):
    chosen = candidates.item == 1
    kept = candidates.thinned(chosen, most, seed=0)
    assert kept[chosen].all()
    others = candidates.total((~chosen).astype(np.float32))
    assert (candidates.total((kept & ~chosen).astype(np.float32)) == np.minimum(others, most)).all()
    left = candidates.keep(kept)
    assert left.people == candidates.people
    assert left.item.tolist() == candidates.item[kept].tolist()
    assert left.owner.tolist() == candidates.owner[kept].tolist()


@given(people(), st.data())
def test_people_are_taken_and_joined_whole(candidates, data):
    some = np.array(data.draw(st.lists(st.booleans(), min_size=candidates.people, max_size=candidates.people)))
    taken, rest = candidates.of_people(some), candidates.of_people(~some)
    both = Candidates.joined([taken, rest])
    order = np.concatenate([np.flatnonzero(some), np.flatnonzero(~some)])
    for new, old in enumerate(order):
        a, b = both.offsets[new : new + 2]
        c, d = candidates.offsets[old : old + 2]
        assert both.item[a:b].tolist() == candidates.item[c:d].tolist()
        assert both.scores["a"][a:b].tolist() == candidates.scores["a"][c:d].tolist()
