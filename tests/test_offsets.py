"""What a head starts from: counting that knows nothing of the row itself, and no more than was there at the time."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from genre import offsets
from genre.baselines import Labelled, user_item_bias
from genre.component import Slot, names
from genre.configfile import load as load_config
from genre.data import PARTS, SKIP, Dataset, Histories, Log
from genre.errors import ConfigError, GenreError
from genre.formulations import Asked, every_row
from genre.heads import Examples, LabelFacts
from genre.labels import Label
from genre.offsets import Likeness, Offset
from genre.run import Run
from genre.sheets import SheetMaker
from genre.textencoder import load
from genre.textmodel import PairReader, TrainedTexts
from genre.train import train
from toyworld import circle, dataset, reviews, text_config, tiny_backbone

TRAIN, VALID, TEST = range(3)
COUNTED = ("item", "user", "user,item", "user,item,text")


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("GENRE_CACHE", str(tmp_path_factory.mktemp("cache")))


def head(of: str, kind: str = "binary", label: str = "value >= 4") -> Any:
    return Slot("heads").build({"type": kind, "label": label, "offset": of.split(",")})


def texts(n_items: int) -> Any:
    """What makes a vector of each item's text; one item has no text."""
    vectors = np.random.default_rng(5).normal(size=(n_items, 4)).astype(np.float32)
    vectors[0] = 0
    return lambda: vectors


def weighed(one: Offset) -> Offset:
    return one if one.likeness is None else replace(one, likeness=replace(one.likeness, weight=1.0))


def log_of(value: Any, n_users: int, n_items: int, seed: int = 0, actions: tuple[str, ...] = ("rate",)) -> Log:
    """Every person has each item once, in an order of their own; the last is the test, the one before validates."""
    rng = np.random.default_rng(seed)
    item = np.concatenate([rng.permutation(n_items) for _ in range(n_users)]).astype(np.int32)
    user = np.repeat(np.arange(n_users), n_items).astype(np.int32)
    left = np.tile(np.arange(n_items)[::-1], n_users)
    values = np.asarray(value, dtype=np.float32).reshape(n_users, n_items)[user, item]
    none = np.full(len(user), -1, dtype=np.int32)
    part = np.where(left == 0, TEST, np.where(left == 1, VALID, TRAIN)).astype(np.int8)
    return Log(
        user, item, none * 0, values, np.arange(len(user), dtype=np.float64), none, part, n_users, n_items, actions
    )


def asked(log: Log, part: str) -> Asked:
    """All rows of a part, each with the history before it, or before its part where that is judged."""
    rows = np.flatnonzero(log.part == PARTS.index(part))
    known = log.parts("train")
    histories = Histories.at(known, np.arange(len(rows))) if part == "train" else Histories.of(log.before(part))
    person = np.arange(len(rows)) if part == "train" else log.user[rows].astype(np.int64)
    return Asked(rows, log.user[rows], log.item[rows], np.full(len(rows), -1, dtype=np.int32), person, histories)


def generous(seed: int = 0, n_users: int = 60, n_items: int = 15) -> Any:
    """Stars that are the person's generosity and the item's quality, and some chance."""
    rng = np.random.default_rng(seed)
    drawn = rng.normal(size=(n_users, 1)) + rng.normal(size=n_items) + 0.3 * rng.normal(size=(n_users, n_items))
    return np.clip(np.round(3 + drawn), 1, 5)


@pytest.mark.parametrize("of", COUNTED)
@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000))
def test_a_training_row_is_told_nothing_of_its_own_label_or_of_what_came_later(of: str, seed: int):
    rng = np.random.default_rng(seed)
    log = log_of(generous(seed, 20, 8), 20, 8, seed)
    rows = np.flatnonzero(log.part == TRAIN)
    chosen = int(rng.choice(rows))
    later = (log.user == log.user[chosen]) & (np.arange(len(log)) >= chosen)
    other = replace(log, value=np.where(later, 6 - log.value, log.value).astype(np.float32))
    with pytest.MonkeyPatch.context() as patch:
        # The strength of shrinkage is one number of all rows, as the weight of likeness is, and not what is meant here.
        patch.setattr(offsets, "SHRINKAGE", (3.0,))
        fitted = [weighed(Offset.fit("x", head(of), each, texts(each.n_items))) for each in (log, other)]
        before, after = (f.says(asked(each, "train"), log.part) for f, each in zip(fitted, (log, other), strict=True))
    at = int(np.searchsorted(rows, chosen))
    assert before[at] == after[at]


def test_what_others_said_changes_what_a_row_is_told():
    log = log_of(generous(), 60, 15)
    other = replace(log, value=np.where(log.user < 30, 6 - log.value, log.value).astype(np.float32))
    for of in COUNTED:
        one, two = (
            Offset.fit("like", head(of), each, texts(15)).says(asked(each, "train"), log.part) for each in (log, other)
        )
        assert np.abs(one - two).max() > 0.1


@pytest.mark.parametrize("of", COUNTED)
def test_test_labels_change_nothing(of: str):
    log = log_of(generous(), 60, 15)
    judged = log.part == TEST
    other = replace(log, value=np.where(judged, 6 - log.value, log.value).astype(np.float32))
    one, two = (
        Offset.fit("like", head(of), each, texts(15)).says(asked(each, "test"), log.part) for each in (log, other)
    )
    np.testing.assert_array_equal(one, two)


def test_both_effects_are_those_of_the_baseline_and_foretell_stars():
    value = generous()
    log = log_of(value, 60, 15)
    fitted = Offset.fit("stars", head("user,item", "regression", "value"), log)
    test = asked(log, "test")
    said = fitted.says(test, log.part)
    past = log.parts("train")
    rows = Labelled(past.user, past.item, past.value, 60, 15)
    # The baseline's people are of the same rows, where validation belongs to the history here.
    plain = user_item_bias(rows, fitted.shrinkage, rounds=30)(test.user, test.item)
    truth = log.value[log.part == TEST]
    assert np.corrcoef(said, plain)[0, 1] > 0.98
    assert np.square(said - truth).mean() < 0.4 * truth.var()
    for alone in ("item", "user"):
        other = Offset.fit("stars", head(alone, "regression", "value"), log).says(test, log.part)
        assert np.square(said - truth).mean() < np.square(other - truth).mean()


@pytest.mark.parametrize("kind", [name for name in names("heads") if hasattr(Slot("heads").build(name), "offset")])
@pytest.mark.parametrize("amount", [0.2, 0.5, 0.9])
def test_a_head_starts_at_what_was_counted_and_learns_what_is_left(kind: str, amount: float):
    torch.manual_seed(0)
    one = head("item", kind, "value >= 4" if kind == "binary" else "value")
    fitted = Offset.fit("x", one, log_of(generous(), 60, 15))
    features = torch.randn(64, 8)
    offset = torch.from_numpy(fitted.linked(np.full(64, amount)))
    labels = (features[:, 0] > 0).float()
    facts = LabelFacts(0.5, 0.5, (0.0, 1.0), (32, 32))
    module = one.build(8, facts, None)
    examples = Examples(labels, features, torch.full((64,), -1), offset=offset)
    torch.testing.assert_close(one.predict(module, examples), torch.full((64,), amount))
    first = float(one.loss(module, examples).detach())
    optimizer = torch.optim.Adam(module.parameters(), lr=0.1)
    for _ in range(60):
        optimizer.zero_grad()
        one.loss(module, examples).backward()
        optimizer.step()
    assert float(one.loss(module, examples).detach()) < 0.7 * first


def test_heads_that_say_where_they_start_say_on_what_scale():
    counting = [name for name in names("heads") if hasattr(Slot("heads").build(name), "offset")]
    assert set(counting) >= {"binary", "regression", "poisson"}
    for name in counting:
        assert Slot("heads").build(name).link in ("logit", "identity", "log")
        assert Slot("heads").build(name).offset == ()


def naive(likeness: Likeness, histories: Histories, left: Any, person: Any, item: Any) -> list[float]:
    found = []
    for p, i in zip(person, item, strict=True):
        sums, weights = 0.0, offsets.STANDARD
        for e in range(histories.offsets[p], histories.offsets[p + 1]):
            if histories.item[e] != i and not np.isnan(left[e]):
                alike = max(0.0, float(likeness.vectors[i] @ likeness.vectors[histories.item[e]])) ** 2
                sums, weights = sums + alike * left[e], weights + alike
        found.append(sums / weights)
    return found


@pytest.mark.parametrize("most", [1, 7, 1 << 16])
def test_likeness_counts_each_event_as_its_text_is_alike(monkeypatch, most):
    monkeypatch.setattr(offsets, "PAIRS", most)
    likeness = Likeness.of(texts(9)(), np.arange(9, dtype=np.int32))
    assert not likeness.vectors[0].any(), "without text it is like nothing"
    np.testing.assert_allclose(np.linalg.norm(likeness.vectors[1:], axis=1), 1, atol=1e-5)
    histories = Histories.of_items([[1, 2, 3], [], [4, 5, 6, 7, 8], [2]])
    left = np.random.default_rng(1).normal(size=9)
    left[4] = np.nan
    person, item = np.array([0, 0, 1, 2, 3, 2, 0]), np.array([1, 8, 2, 3, 2, 4, 0], dtype=np.int32)
    said = likeness.foretells(histories, left, person, item)
    np.testing.assert_allclose(said, naive(likeness, histories, left, person, item), atol=1e-6)
    assert said[2] == said[4] == said[6] == 0


def test_who_likes_one_sort_of_text_is_foretold_to_like_the_next_of_it():
    """Half the people like one half of the items, half the other: neither people nor items tell anything apart."""
    taste = np.arange(60)[:, None] % 2 == np.arange(16) % 2
    log = log_of(np.where(taste, 5, 1), 60, 16)
    sorts = np.eye(2, dtype=np.float32)[np.arange(16) % 2]
    test = asked(log, "test")
    truth = log.value[log.part == TEST] >= 4
    alone = Offset.fit("like", head("user,item"), log).says(test, log.part)
    both = Offset.fit("like", head("user,item,text"), log, lambda: sorts)
    said = both.says(test, log.part)
    assert ((said > 0) == truth).all()
    assert np.abs(alone).max() < np.abs(said).min()
    nonsense = Offset.fit("like", head("user,item,text"), log, lambda: sorts[np.random.default_rng(2).permutation(16)])
    assert both.likeness is not None
    assert nonsense.likeness is not None
    assert nonsense.likeness.weight < both.likeness.weight


def test_of_nobody_and_of_a_new_item_the_mean_is_said():
    log = log_of(generous(), 60, 15)
    fitted = Offset.fit("like", head("user,item"), log).grown(17)
    said = fitted.of_pairs(Histories.of_items([[]]), np.zeros(2, dtype=int), np.array([15, 16], dtype=np.int32))
    np.testing.assert_allclose(said, fitted.overall)
    mean = (log.value[log.part == TRAIN] >= 4).mean()
    assert fitted.overall == pytest.approx(np.log(mean / (1 - mean)), abs=1e-5)
    unknown = Histories.of_items([[0, 1, 2]])
    said = fitted.of_pairs(unknown, np.zeros(1, dtype=int), np.array([15], dtype=np.int32))
    np.testing.assert_allclose(said, fitted.overall, err_msg="events without an amount tell nothing")


@settings(max_examples=20, deadline=None)
@given(
    st.integers(0, 1000), st.sampled_from(["value >= 4", "value == 2", "value", "action == 'like'", "action != 'a'"])
)
def test_a_label_is_the_same_of_a_history_as_of_its_rows(seed: int, text: str):
    rng = np.random.default_rng(seed)
    log = log_of(rng.integers(1, 6, (5, 6)), 5, 6, seed, ("a", "like", "view"))
    value = np.where(rng.random(len(log)) < 0.3, np.nan, log.value).astype(np.float32)
    log = replace(log, action=rng.integers(0, 3, len(log)).astype(np.int32), value=value)
    label = Label.parse(text)
    assert label.of_history
    np.testing.assert_array_equal(label.of_events(Histories.of(log), log.actions), label.evaluate(log))


def test_a_share_of_histories_that_lack_the_skips_is_refused():
    log = log_of(generous(), 60, 15, actions=("click", SKIP))
    log = replace(log, action=(log.value < 3).astype(np.int32))
    with pytest.raises(GenreError, match=r"model\.heads\.clicked\.offset: .* set it to \[item\]"):
        Offset.fit("clicked", head("user,item", label="action == 'click'"), log)
    Offset.fit("clicked", head("item", label="action == 'click'"), log)
    Offset.fit("like", head("user", label="value >= 4"), replace(log, value=np.where(log.action, np.nan, log.value)))


def test_counts_stay_above_nothing():
    log = log_of(np.where(np.arange(15) == 3, 40, 0) * np.ones((60, 1)), 60, 15)
    said = Offset.fit("plays", head("item", "poisson", "value"), log).says(every_row(log, "test"), log.part)
    assert np.isfinite(said).all()
    test = log.item[log.part == TEST]
    assert np.exp(said[test == 3]).min() > 30
    assert np.exp(said[test != 3]).max() < 3


CROSS = {
    "formulation": {"type": "cross", "targets": 4, "negatives": 0, "prompt": "{liked} [SEP] {disliked} [SEP] {item}"},
    "template": "{title}",
    "max_tokens": 32,
    "adapter": "full",
    "heads": {"like": {"type": "binary", "label": "value >= 4", "offset": ["user", "item", "text"]}},
}
STOP = {"metric": "like.logloss", "patience": 20}


def test_a_cross_model_says_the_same_wherever_it_is_asked_and_is_no_worse_than_counting(tmp_path):
    backbone = tiny_backbone(tmp_path / "bert")
    conf = text_config(backbone, model=CROSS, train={"epochs": 2, "shots": 16, "early_stopping": STOP})
    run = Run.create(conf, tmp_path)
    dataset(circle()).save(run.path("data"))
    train(conf, run)
    data = Dataset.load(run.path("data"))
    model = TrainedTexts.load(run.path("model") / "finetuned", data)
    log, maker = Log.of(data), SheetMaker(conf.model, model.loaded, data, conf.seed, conf.train.shots)
    sheet, test = maker.part("test"), log.parts("test")
    said = PairReader(model, data).predict("like", Histories.of(log.before("test"), test.user), test.item)
    np.testing.assert_allclose(said, np.array(model.answers(sheet)["like"]), atol=1e-5)
    valid = maker.part("valid")
    alone = 1 / (1 + np.exp(-maker.offsets["like"].says(valid.asked, log.part)))  # type: ignore[arg-type]
    mine = np.array(model.answers(valid)["like"])

    def lost(share: Any) -> float:
        return float(-np.where(valid.labels["like"] > 0.5, np.log(share), np.log(1 - share)).mean())

    assert lost(mine) <= lost(alone) + 1e-6


def test_a_text_starts_from_its_item_and_one_of_none_from_the_mean(tmp_path):
    from genre.predicting import TextPredictor

    backbone = tiny_backbone(tmp_path / "bert")
    heads = {"stars": {"type": "regression", "label": "value", "offset": ["item"]}}
    conf = text_config(backbone, model={"heads": heads}, train={"warmup_epochs": 0, "epochs": 0})
    run = Run.create(conf, tmp_path)
    dataset(reviews(), {"type": "random", "per": "log", "valid": 0.2, "test": 0.2}).save(run.path("data"))
    train(conf, run)
    data = Dataset.load(run.path("data"))
    log, model = Log.of(data), TrainedTexts.load(run.path("model") / "finetuned", data)
    sheet = SheetMaker(conf.model, load(conf.model.backbone), data, conf.seed).part("test")
    said = np.array(model.answers(sheet)["stars"])
    past = log.part == TRAIN
    mean = log.value[past].mean()
    for item in range(5):
        own = log.value[past & (log.item == item)]
        assert abs(np.unique(said[log.item[log.part == TEST] == item]) - mean).max() <= abs(own.mean() - mean)
    answer = TextPredictor.load(run.folder).predict(["word1 redcup"])[0]["heads"]["stars"]
    assert answer == pytest.approx(mean, abs=1e-3)


TEXT = """\
data: {reader: movielens}
model: {formulation: text, heads: {stars: regression, liked: {type: binary, label: liked}}, template: '{review}'}
train: {early_stopping: {metric: stars.rmse}}
"""
PAIRS = """\
data: {reader: movielens}
model: {formulation: cross, heads: {chosen: {type: binary, label: chosen}, stars: regression}}
train: {early_stopping: {metric: chosen.grouped_auc}}
pipeline: {sources: [transitions], rerank: {head: chosen}}
"""
TWO = "data: {reader: movielens}\nmodel: {heads: {next: next_item, stars: regression}}\n"
HEAD = "model.heads.stars.offset"
FORM = "model.formulation"


@pytest.mark.parametrize(
    ("text", "override", "path", "mend"),
    [
        (TWO, f"{HEAD}=[item]", HEAD, "take text or cross, or leave it"),
        (
            TEXT,
            f"{HEAD}=[user]",
            HEAD,
            "user and text are of a person's history, and text reads none; set it to [item], or take cross",
        ),
        (TEXT, f"{HEAD}=[users]", HEAD, "item"),
        (PAIRS, "model.heads.chosen.offset=[item]", "model.heads.chosen.offset", "take another label, or leave it"),
        (
            PAIRS,
            "model.heads.stars={type: regression, label: hours, offset: [user]}",
            HEAD,
            "no 'hours'; write a label of",
        ),
        (
            PAIRS,
            "model.heads.stars={type: binary, offset: [item], words: [a, b]}",
            HEAD,
            "words from the language model's answer; leave one of them out",
        ),
        (PAIRS, f"{HEAD}=[item, text]", HEAD, "write [user, text]"),
        (PAIRS, f"{HEAD}=[item, item]", HEAD, "write each once"),
        (PAIRS, f"{FORM}.prompt='{{liked}}'", f"{FORM}.prompt", "does not say where the item goes"),
        (PAIRS, f"{FORM}.prompt='{{liked}} {{history}} {{item}}'", f"{FORM}.prompt", "write one or the other"),
        (PAIRS, f"{FORM}.prompt='{{liked}} {{liked}} {{item}}'", f"{FORM}.prompt", "'{liked}' stands there twice"),
        (
            PAIRS,
            f"{FORM}={{type: cross, prompt: '{{liked}} {{item}}', liked: value}}",
            f"{FORM}.liked",
            "is no comparison",
        ),
        (
            PAIRS,
            f"{FORM}={{type: cross, prompt: '{{liked}} {{item}}', liked: hours > 1}}",
            f"{FORM}.liked",
            "no 'hours'",
        ),
        (PAIRS, f"{FORM}={{type: cross, prompt: '{{liked}} {{item}}', liked: '>='}}", f"{FORM}.liked", "is no label"),
    ],
)
def test_where_nothing_can_be_counted_or_told_apart_is_refused(text, override, path, mend, tmp_path: Path):
    (tmp_path / "c.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load_config(tmp_path / "c.yaml", [override])
    assert any(f"{path}: " in one and mend in one for one in caught.value.problems), caught.value.problems


@pytest.mark.parametrize("prompt", ["{liked} [SEP] {item}", "{disliked} {liked:20} {item}"])
def test_what_fits_together_is_taken(prompt: str, tmp_path: Path):
    (tmp_path / "c.yaml").write_text(PAIRS, encoding="utf-8")
    form = json.dumps({"type": "cross", "prompt": prompt})
    load_config(tmp_path / "c.yaml", [f"{FORM}={form}", f"{HEAD}=[user, item, text]"])
