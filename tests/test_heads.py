"""Task heads: right answers of their losses, what they refuse, and that they train in the two-tower model."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from genre.component import Slot
from genre.data import Histories, Log
from genre.errors import GenreError
from genre.fitting import Fitter
from genre.heads import Examples, LabelFacts, Language, Tokens
from genre.model import TrainedModel
from toyworld import circle, config, dataset, tiny_backbone

STARS = LabelFacts(3.25, 1.5, (1.0, 2.0, 4.0, 5.0), (10, 20, 30, 40))


def head(name: str, **settings: Any) -> Any:
    return Slot("heads").build({"type": name, **settings})


def rows(labels: list[float], features: Tensor, group: list[int] | None = None) -> Examples:
    return Examples(torch.tensor(labels), features, torch.tensor(group or [-1] * len(labels)))


def language(hidden: int = 8, words: int = 50, pieces: dict[str, list[int]] | None = None) -> Language:
    torch.manual_seed(1)
    known = pieces or {"yes": [3], "no": [4]}
    return Language(hidden, torch.randn(words, hidden), lambda text: known.get(text, [7, 8]))


# Where it starts: at what the labels alone say.


def test_classes_start_at_their_shares():
    module = head("multiclass").build(8, STARS, None)
    said = head("multiclass").predict(module, rows([1.0], torch.randn(1, 8)))
    torch.testing.assert_close(said[0], torch.tensor([0.1, 0.2, 0.3, 0.4]))


def test_a_grade_starts_at_the_mean_of_the_labels():
    module = head("ordinal").build(8, STARS, None)
    said = head("ordinal").predict(module, rows([1.0], torch.randn(1, 8)))
    assert float(said.detach()) == pytest.approx(0.1 * 1 + 0.2 * 2 + 0.3 * 4 + 0.4 * 5, abs=1e-5)


def test_a_count_starts_at_the_mean_and_a_yes_at_its_share():
    features = torch.randn(1, 8)
    counts, yes = LabelFacts(7.5, 2.0), LabelFacts(0.2, 0.4, (0.0, 1.0), (80, 20))
    for name, facts in (("poisson", counts), ("binary", yes), ("listwise", yes)):
        module = head(name).build(8, facts, None)
        assert float(head(name).predict(module, rows([1.0], features)).detach()) == pytest.approx(facts.mean, rel=1e-5)
    balanced = head("binary", positive_weight="balanced")
    assert float(balanced.predict(balanced.build(8, yes, None), rows([1.0], features)).detach()) == pytest.approx(0.5)


# Losses with a known value.


def test_a_label_that_is_no_class_teaches_nothing():
    one = head("multiclass")
    module, features = one.build(8, STARS, None), torch.randn(4, 8)
    with_it = one.loss(module, rows([1.0, 3.0, 9.0, 5.0], features))
    without = one.loss(module, rows([1.0, math.nan, math.nan, 5.0], features))
    torch.testing.assert_close(with_it, without)
    assert float(one.loss(module, rows([3.0] * 4, features)).detach()) == 0


def test_balanced_classes_weigh_the_same():
    one, features = head("multiclass", class_weights="balanced"), torch.zeros(100, 8)
    module = one.build(8, STARS, None)
    labels = [1.0] * 10 + [2.0] * 20 + [4.0] * 30 + [5.0] * 40
    one.loss(module, rows(labels, features)).backward()
    torch.testing.assert_close(module.out.bias.grad, torch.zeros(4), atol=1e-6, rtol=0)
    torch.testing.assert_close(one.predict(module, rows(labels, features))[0], torch.full((4,), 0.25))


def test_balanced_answers_weigh_the_same():
    facts, features = LabelFacts(0.2, 0.4, (0.0, 1.0), (80, 20)), torch.zeros(100, 8)
    one = head("binary", positive_weight="balanced")
    module = one.build(8, facts, None)
    one.loss(module, rows([1.0] * 20 + [0.0] * 80, features)).backward()
    torch.testing.assert_close(module.out.bias.grad, torch.zeros(1), atol=1e-6, rtol=0)


@pytest.mark.parametrize(("name", "facts"), [("binary", LabelFacts(0.5)), ("multiclass", STARS)])
def test_smoothing_keeps_an_answer_from_being_certain(name: str, facts: LabelFacts):
    one = head(name, smoothing=0.2)
    module = one.build(2, facts, None)
    examples = rows([1.0, 0.0] if name == "binary" else [1.0, 5.0], torch.eye(2))
    optimizer = torch.optim.Adam(module.parameters(), lr=0.1)
    for _ in range(400):
        optimizer.zero_grad()
        one.loss(module, examples).backward()
        optimizer.step()
    said = one.predict(module, examples).detach()
    largest = float(said[0]) if name == "binary" else float(said[0, 0])
    assert largest == pytest.approx(0.9 if name == "binary" else 0.85, abs=0.01)


def test_thresholds_stay_in_order_and_a_higher_score_is_a_higher_grade():
    one = head("ordinal")
    module = one.build(1, STARS, None)
    with torch.no_grad():
        module.score.weight.fill_(2.0)
        module.log_gaps.copy_(torch.tensor([-3.0, 1.5]))
    said = one.predict(module, rows([1.0] * 50, torch.linspace(-5, 5, 50)[:, None])).detach()
    assert (said.diff() > 0).all()
    assert said[0] > 1
    assert said[-1] < 5
    chances = module(torch.zeros(1, 1)).sigmoid()
    assert (chances.diff() < 0).all()


def test_two_grades_are_a_yes_or_no():
    facts, features = LabelFacts(1.4, 0.5, (1.0, 2.0), (60, 40)), torch.randn(6, 8)
    one, other = head("ordinal"), head("binary")
    grade, yes = one.build(8, facts, None), other.build(8, LabelFacts(0.4), None)
    labels = [1.0, 2.0, 2.0, 1.0, 1.0, 2.0]
    loss = other.loss(yes, rows([label - 1 for label in labels], features))
    torch.testing.assert_close(one.loss(grade, rows(labels, features)), loss)


def test_the_loss_of_counts_is_half_their_deviance():
    from sklearn.metrics import mean_poisson_deviance

    one = head("poisson")
    module = one.build(8, LabelFacts(3.0, 2.0), None)
    counts = [0.0, 1.0, 3.0, 9.0]
    loss = float(one.loss(module, rows(counts, torch.randn(4, 8))).detach())
    assert loss == pytest.approx(mean_poisson_deviance(counts, [3.0] * 4) / 2, rel=1e-5)
    assert float(one.loss(module, rows([3.0] * 4, torch.randn(4, 8))).detach()) == pytest.approx(0, abs=1e-6)


def test_each_yes_is_held_against_the_noes_of_its_list():
    one = head("listwise")
    module = one.build(1, LabelFacts(0.5), None)
    with torch.no_grad():
        module.out.weight.fill_(1.0)
    scores = torch.tensor([[100.0], [1.0], [0.5], [2.0], [0.3], [7.0], [3.0], [4.0], [5.0]])
    labels = [1.0, 0.0, 1.0, 0.0, 1.0, 1.0, 0.0, 1.0, math.nan]
    group = [0, 0, 0, 0, -1, 3, 8, 8, 8]

    # List 3 has no no, the row of list -1 stands alone, and of the last row nothing is known.
    def lost(yes: float, noes: list[float]) -> float:
        return math.log(1 + sum(math.exp(no - yes) for no in noes))

    expected = ((lost(100, [1, 2]) + lost(0.5, [1, 2])) / 2 + lost(4, [3])) / 2
    found = one.loss(module, rows(labels, scores, group))
    assert float(found.detach()) == pytest.approx(expected, rel=1e-5)
    found.backward()
    assert torch.isfinite(module.out.weight.grad).all()


def test_what_a_person_has_seen_is_no_negative():
    torch.manual_seed(0)
    users, items = torch.randn(3, 8), torch.randn(5, 8)
    seen = torch.zeros(3, 5, dtype=torch.bool)
    seen[0, 3:], seen[1, 0] = True, True
    target = torch.tensor([0, 2, 4])
    examples = Examples(
        torch.full((3,), math.nan),
        users,
        torch.full((3,), -1),
        users=users,
        items=items[target],
        positive=torch.ones(3, dtype=torch.bool),
        candidates=items,
        target=target,
        log_q=torch.zeros(5),
        seen=seen,
    )
    one = head("next_item", mask_seen=True)
    module = one.build(8, LabelFacts(), None)
    scores = (users @ items.T).masked_fill(seen, -torch.inf)
    torch.testing.assert_close(one.loss(module, examples), functional.cross_entropy(scores, target))
    smooth, nothing_seen = head("next_item", mask_seen=True, smoothing=0.3), replace(examples, seen=seen & False)
    plain = head("next_item", smoothing=0.3).loss(module, examples)
    torch.testing.assert_close(smooth.loss(module, nothing_seen), plain)
    loss = smooth.loss(module, examples)
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(module.log_scale.grad)


# A decoder's words.


@pytest.mark.parametrize("block", [1, 7, 1000])
def test_the_loss_of_words_is_that_of_all_scores_at_once(block: int):
    one, tongue = head("generation"), language()
    module = one.build(8, LabelFacts(), tongue)
    module.block = block
    states = torch.randn(4, 6, 8, requires_grad=True)
    labels = torch.randint(0, 50, (4, 6))
    labels[0], labels[1, 2:] = -100, -100
    examples = replace(rows([1.0] * 4, torch.zeros(4, 8)), tokens=Tokens(states, labels))
    loss = one.loss(module, examples)
    assert tongue.vocabulary is not None
    scores = states @ tongue.vocabulary.T
    expected = functional.cross_entropy(scores.flatten(0, 1), labels.flatten(), ignore_index=-100)
    torch.testing.assert_close(loss, expected)
    (mine,) = torch.autograd.grad(loss, states, retain_graph=True)
    (theirs,) = torch.autograd.grad(expected, states, retain_graph=True)
    torch.testing.assert_close(mine, theirs)
    again = torch.autograd.grad(loss, states)[0]
    torch.testing.assert_close(mine, again, msg="a balancer may go through the graph more than once")
    said = one.predict(module, examples)
    assert said[0].isnan()
    likely = scores[1, :2].log_softmax(-1).gather(1, labels[1, :2, None]).mean()
    torch.testing.assert_close(said[1], likely)


def test_a_decoder_begins_with_its_own_answer():
    one, tongue = head("binary", words=["yes", "no"]), language()
    assert tongue.vocabulary is not None
    module = one.build(8, LabelFacts(0.1), tongue)
    features = torch.randn(5, 8)
    scores = features @ tongue.vocabulary[[3, 4]].T
    said = one.predict(module, rows([1.0] * 5, features))
    torch.testing.assert_close(said, scores.softmax(1)[:, 0])
    kept = one.build(8, LabelFacts(0.1), None)
    kept.load_state_dict(module.state_dict())
    torch.testing.assert_close(one.predict(kept, rows([1.0] * 5, features)), said)


def test_a_word_after_a_blank_counts_first():
    pieces = {"yes": [30], " yes": [3], "no": [1, 2], " no": [4], "maybe": [5], " maybe": [6, 7]}
    tongue = language(pieces=pieces)
    assert tongue.vocabulary is not None
    for words, numbers in ((["yes", "no"], (3, 4)), (["maybe", "no"], (5, 4))):
        module = head("binary", words=words).build(8, LabelFacts(0.5), tongue)
        torch.testing.assert_close(module.out.weight[0], tongue.vocabulary[numbers[0]] - tongue.vocabulary[numbers[1]])


# What they refuse.


@pytest.mark.parametrize(
    ("made", "facts", "tongue", "message"),
    [
        (head("multiclass"), LabelFacts(1.0, 0.0, (1.0,), (5,)), None, "'value' has no classes to tell apart"),
        (head("ordinal"), LabelFacts(1.0, 5.0), None, "'value' has no grades.*take regression"),
        (head("poisson"), LabelFacts(0.0, 1.0, (-1.0, 1.0), (5, 5)), None, "'value' is -1 in training"),
        (head("token", label="names"), LabelFacts(), None, "place in 'names'.*start:end:label"),
        (head("generation"), LabelFacts(), replace(language(), vocabulary=None), "encoder does not write"),
        (head("generation"), LabelFacts(), None, "take a decoder"),
        (head("binary", words=["yes", "no"]), LabelFacts(0.5), replace(language(), vocabulary=None), "is an encoder"),
        (head("binary", words=["yes", "no"]), LabelFacts(0.5), language(16), "8 features.* have 16; set"),
        (head("binary", words=["yes", "nay"]), LabelFacts(0.5), language(), r"'nay' is 2 tokens \(\[7, 8\]\)"),
        (head("binary", words=["yes", "yes"]), LabelFacts(0.5), language(), "the same token"),
    ],
    ids=lambda one: str(one)[:40],
)
def test_it_says_why_it_cannot_serve(made: Any, facts: LabelFacts, tongue: Language | None, message: str):
    with pytest.raises(GenreError, match=message):
        made.build(8, facts, tongue)


# Two readings of an item.


def vectors(one: Tensor, other: Tensor | None) -> Examples:
    nothing = torch.full((len(one),), math.nan)
    return Examples(nothing, one, torch.full((len(one),), -1), candidates=one, views=other)


def test_two_readings_of_an_item_are_brought_together():
    torch.manual_seed(0)
    made, one = head("contrastive", temperature=0.1), torch.randn(6, 8)
    module = made.build(8, LabelFacts(), None)
    same, shuffled = made.loss(module, vectors(one, one)), made.loss(module, vectors(one, one.roll(1, 0)))
    assert same < 0.1 < shuffled
    unit = functional.normalize(one)
    cosines = unit @ unit.roll(1, 0).T / 0.1
    right = torch.arange(6)
    both = (functional.cross_entropy(cosines, right) + functional.cross_entropy(cosines.T, right)) / 2
    torch.testing.assert_close(shuffled, both)


def test_items_that_read_alike_are_not_held_against_each_other():
    made, one = head("contrastive"), functional.one_hot(torch.tensor([0, 0, 1]), 4).float()
    module = made.build(4, LabelFacts(), None)
    assert float(made.loss(module, vectors(one, one))) < 1e-6
    near = one + torch.tensor([0, 0.05, 0])[:, None] * torch.tensor([0.0, 0.0, 1.0, 0.0])
    assert float(made.loss(module, vectors(near, near))) > 0.3, "near is not alike"
    assert float(made.loss(module, vectors(one[:1], one[:1]))) == 0


def test_only_so_many_items_are_told_apart_in_a_step():
    torch.manual_seed(0)
    one, other = torch.randn(200, 8), torch.randn(200, 8)
    module = head("contrastive", temperature=1.0).build(8, LabelFacts(), None)
    losses = [float(head("contrastive", items=n).loss(module, vectors(one, other))) for n in (4, 200)]
    assert losses[0] < 2.5 < losses[1]


def test_without_texts_there_is_no_second_reading():
    made = head("contrastive")
    with pytest.raises(GenreError, match=r"needs model\.text: true"):
        made.loss(made.build(8, LabelFacts(), None), vectors(torch.randn(3, 8), None))


def test_the_temperature_is_the_language_models_unless_set():
    assert head("contrastive").build(8, LabelFacts(), replace(language(), temperature=0.01)).temperature == 0.01
    assert head("contrastive").build(8, LabelFacts(), None).temperature == 0.05
    assert head("contrastive", temperature=0.2).build(8, LabelFacts(), language()).temperature == 0.2


# In the two-tower model.


@pytest.fixture(scope="module")
def backbone(tmp_path_factory):
    return tiny_backbone(tmp_path_factory.mktemp("bert"))


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("GENRE_CACHE", str(tmp_path_factory.getbasetemp() / "heads-cache"))


HEADS = {
    "next": "next_item",
    "sort": "multiclass",
    "grade": "ordinal",
    "count": "poisson",
    "like": {"type": "binary", "smoothing": 0.05, "positive_weight": "balanced"},
}
TRAIN = {"warmup_epochs": 4, "epochs": 2, "batch_size": 16, "lr": {"rest": 5e-3, "rest_finetune": 5e-3}}
COMBINATIONS = [
    ("direct", "dwa"),
    ("separate", "uncertainty"),
    ("shared_bottom", "gradnorm"),
    ("mmoe", "pcgrad"),
    ("ple", "upgrad"),
    ("ple", "fixed"),
]


@pytest.mark.parametrize(("towers", "balance"), COMBINATIONS)
def test_every_head_trains_with_every_tower_and_balancer(backbone, towers: str, balance: str):
    data = dataset(circle())
    conf = config(backbone, model={"heads": HEADS, "towers": towers, "balance": balance}, train=TRAIN)
    fitter = Fitter(conf, data)
    losses = [fit(fitter, "warmup", number) for number in range(1, 5)]
    fitter.settle()
    losses += [fit(fitter, "finetune", number) for number in range(1, 3)]
    for name in HEADS:
        assert losses[-1][name] < 0.97 * losses[0][name], name
    log = Log.of(data)
    test = log.parts("test")
    histories = Histories.of(log.before("test"), test.user)
    model = fitter.trained()
    stars = {name: model.predict(name, histories, test.item) for name in ("grade", "count")}
    for said in stars.values():
        assert said[test.item % 2 == 0].mean() > said[test.item % 2 == 1].mean()
    chances = model.predict("sort", histories, test.item)
    assert chances.shape == (len(test.item), 2)
    np.testing.assert_allclose(chances.sum(1), 1, rtol=1e-5)


def fit(fitter: Fitter, phase: Any, number: int) -> dict[str, float]:
    return fitter.epoch(phase, number, fitter.steppers(phase), lambda done: None)


def test_another_reading_shapes_the_vectors(backbone):
    heads = {
        "next": {"type": "next_item", "mask_seen": True},
        "views": {"type": "contrastive", "view": "{title} word7"},
    }
    fitter = Fitter(config(backbone, model={"heads": heads, "ids": False}, train=TRAIN), dataset(circle()))
    losses = [fit(fitter, "warmup", number)["views"] for number in range(1, 5)]
    fitter.settle()
    losses += [fit(fitter, "finetune", number)["views"] for number in range(1, 3)]
    assert losses[-1] < 0.9 * losses[0]


def test_a_model_with_every_head_comes_back(backbone, tmp_path):
    data = dataset(circle())
    heads = {**HEADS, "views": {"type": "contrastive"}, "list": {"type": "listwise", "label": "value >= 4"}}
    conf = config(backbone, model={"heads": heads, "towers": "ple", "balance": "gradnorm"}, train=TRAIN)
    fitter = Fitter(conf, data)
    fit(fitter, "warmup", 1)
    model = fitter.trained()
    model.save(tmp_path / "model", data.hash)
    kept = TrainedModel.load(tmp_path / "model", data)
    log = Log.of(data)
    histories, items = Histories.of(log.before("test"), log.parts("test").user), log.parts("test").item
    for name in HEADS:
        np.testing.assert_array_equal(kept.predict(name, histories, items), model.predict(name, histories, items))
    assert torch.equal(kept.model.balance.log_shares, fitter.model.balance.log_shares)  # type: ignore[arg-type]
