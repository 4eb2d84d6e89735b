"""Models trained on by preferences and by drawn orders: losses with known values, a toy that gets better, the gate."""

from __future__ import annotations

import json
import math
import os
import shutil
import tempfile
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from finished import finished, finished_pairs
from genre.cli import commands
from genre.component import Slot, find, names
from genre.compression.stage import compress
from genre.data import Dataset
from genre.errors import ConfigError, GenreError
from genre.learn.candidatelists import divergence, gains_of, lists_of
from genre.learn.model import learn_model
from genre.learn.modelfitting import ListFitter, ListValidation, scores_of, train_on
from genre.pipeline import Pipeline
from genre.rank import rank
from genre.run import Run
from genre.textmodel import TrainedTexts
from genre.types import Query
from toyworld import circle, dataset, text_config, tiny_decoder

MODELS = [name for name in names("learners") if find("learners", name).makes == "model"]


def learner(name: str, **settings_: Any) -> Any:
    return Slot("learners").build({"type": name, **settings_})


def silent(line: str) -> None:
    pass


def test_lists_are_those_with_both_kinds():
    group = torch.tensor([7, 3, 7, 3, 9, 9, 7])
    chosen = torch.tensor([0.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0])
    at, filled = lists_of(group, chosen)
    assert at[filled].tolist() == [0, 2, 6]
    nothing = torch.zeros(0)
    assert not len(lists_of(nothing.long(), nothing)[0])


def test_one_passed_over_is_plain_dpo_and_several_are_softmax_dpo():
    now, first = torch.tensor([1.0, 0.2, -0.5]), torch.tensor([0.4, 0.5, -0.1])
    chosen, group = torch.tensor([1.0, 0.0, 0.0]), torch.zeros(3, dtype=torch.long)
    beta, risen = 0.7, (0.6, -0.3, -0.4)
    pair = learner("preference", beta=beta).loss(now[:2], first[:2], chosen[:2], group[:2])
    one = math.log1p(math.exp(beta * (risen[1] - risen[0])))
    assert float(pair) == pytest.approx(one, rel=1e-5)
    several = learner("preference", beta=beta).loss(now, first, chosen, group)
    total = sum(math.exp(beta * (r - risen[0])) for r in risen[1:])
    assert float(several) == pytest.approx(math.log1p(total), rel=1e-5)
    each = learner("preference", beta=beta, against="each").loss(now, first, chosen, group)
    other = math.log1p(math.exp(beta * (risen[2] - risen[0])))
    assert float(each) == pytest.approx((one + other) / 2, rel=1e-5)


@pytest.mark.parametrize("beta", [0.5, 2.0])
def test_a_preference_of_seven_in_ten_is_learned_as_such(beta: float):
    """The best that DPO can do is known: what is preferred rises by the log odds over beta."""
    rise = torch.zeros(2, requires_grad=True)
    first = torch.randn(2, generator=torch.Generator().manual_seed(0))
    chosen = torch.tensor([1.0, 0.0] * 7 + [0.0, 1.0] * 3)
    group, item = torch.arange(10).repeat_interleave(2), torch.tensor([0, 1] * 10)
    optimizer = torch.optim.LBFGS([rise], lr=0.5, max_iter=200)

    def lost() -> Any:
        optimizer.zero_grad()
        loss = learner("preference", beta=beta).loss((first + rise)[item], first[item], chosen, group)
        loss.backward()
        return loss

    optimizer.step(lost)
    assert float((rise[0] - rise[1]).detach()) == pytest.approx(math.log(0.7 / 0.3) / beta, rel=1e-3)


def test_the_expected_step_of_drawn_orders_is_that_of_the_expected_reward():
    """With one place the reward of an item is known: its gradient is its chance times what it has above the mean."""
    torch.manual_seed(0)
    now = torch.tensor([0.3, -0.2, 0.5], requires_grad=True)
    chosen, group = torch.tensor([1.0, 0.0, 0.0]), torch.zeros(3, dtype=torch.long)
    made = learner("group_relative", places=1, samples=20000, beta=0.0)
    made.loss(now, now.detach(), chosen, group).backward()
    chance = torch.softmax(now.detach(), 0)
    spread = (chance[0] * (1 - chance[0])).sqrt()
    exact = -chance * (chosen - chance[0]) / spread
    assert now.grad is not None
    torch.testing.assert_close(now.grad, exact, atol=0.02, rtol=0)


def test_the_leash_pulls_back_to_the_supervised_scores():
    now = torch.tensor([2.0, 0.0], requires_grad=True)
    first, chosen, group = torch.tensor([0.0, 0.0]), torch.tensor([1.0, 0.0]), torch.zeros(2, dtype=torch.long)
    torch.manual_seed(0)
    learner("group_relative", beta=100.0).loss(now, first, chosen, group).backward()
    assert now.grad is not None
    assert now.grad[0] > 1
    apart = divergence(now.detach()[None], first[None], torch.ones(1, 2, dtype=torch.bool))
    p = torch.softmax(now.detach(), 0)
    assert float(apart) == pytest.approx(float((p * (p / 0.5).log()).sum()), rel=1e-5)


@pytest.mark.parametrize("name", MODELS)
def test_without_a_preference_nothing_moves(name: str):
    now = torch.randn(4, requires_grad=True)
    loss = learner(name).loss(now, torch.zeros(4), torch.ones(4), torch.zeros(4, dtype=torch.long))
    loss.backward()
    assert float(loss.detach()) == 0
    assert now.grad is not None
    assert not now.grad.any()


@pytest.mark.parametrize("name", MODELS)
@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_losses_are_finite_and_push_the_chosen_up(name: str, data: Any):
    n = data.draw(st.integers(2, 12))
    scores = st.floats(-30, 30, width=32)
    now, first = (torch.tensor(data.draw(st.lists(scores, min_size=n, max_size=n))) for _ in range(2))
    chosen = torch.tensor(data.draw(st.lists(st.sampled_from([0.0, 1.0]), min_size=n, max_size=n)))
    group = torch.tensor(data.draw(st.lists(st.integers(0, 3), min_size=n, max_size=n)))
    now.requires_grad_()
    loss = learner(name).loss(now, first, chosen, group)
    loss.backward()
    assert torch.isfinite(loss)
    assert now.grad is not None
    assert torch.isfinite(now.grad).all()
    if name == "preference":
        assert (now.grad[chosen > 0] <= 1e-6).all()
        assert (now.grad[chosen == 0] >= -1e-6).all()


def test_gains_are_ndcg():
    chosen = torch.tensor([[0.0, 1.0, 0.0, 1.0]])
    order = torch.tensor([[1, 0, 3, 2]])
    ideal = 1 + 1 / math.log2(3)
    assert float(gains_of(chosen, order, 10)) == pytest.approx((1 + 0.5) / ideal)
    assert float(gains_of(chosen, order, 1)) == pytest.approx(1.0)


@cache
def decoder_run() -> Run:
    """The circle, its top read again by a decoder that was hardly trained: much is left to learn."""
    from genre.train import train

    folder = Path(tempfile.mkdtemp(prefix="genre-test-"))
    os.environ["GENRE_CACHE"] = str(folder / "cache")
    model = {
        "formulation": {
            "type": "cross",
            "targets": 6,
            "negatives": 4,
            "pool": 10,
            "prompt": "{history:8} {item} ? yes",
        },
        "template": "{title}",
        "pooling": "last",
        "towers": "direct",
        "max_tokens": 32,
        "adapter": {"type": "full"},
        "heads": {"chosen": {"type": "binary", "label": "chosen", "words": ["yes", "no"]}},
    }
    conf = text_config(
        tiny_decoder(folder / "llama"),
        name="decoder",
        model=model,
        train={
            "warmup_epochs": 1,
            "epochs": 1,
            "lr": {"rest": 1e-3, "backbone": 1e-3, "rest_finetune": 1e-3},
            "early_stopping": {"metric": "chosen.grouped_auc"},
        },
        pipeline={"sources": ["popular"], "rerank": {"top": 10}},
        evaluate={"bootstrap": 100, "baselines": ["popular"], "examples": 1},
    )
    run = Run.create(conf, folder)
    dataset(circle(n_users=60)).save(run.path("data"))
    for stage in (train, rank):
        stage(conf, run)
    return run


def own(run: Run, fit: Any) -> Run:
    """A copy of a run with another way to learn."""
    folder = Path(tempfile.mkdtemp(prefix="genre-test-")) / run.folder.name
    shutil.copytree(run.folder, folder, ignore=shutil.ignore_patterns("learn"))
    return Run.create(replace(run.config, learn=replace(run.config.learn, fit=fit)), folder.parent)


@pytest.mark.parametrize("name", MODELS)
def test_a_decoder_orders_lists_better_and_is_a_run_like_any_other(name: str):
    before = decoder_run()
    run = own(before, learner(name, epochs=4, rate=4.0, patience=4))
    hashes = {p: p.read_bytes() for p in run.path("model").rglob("*.safetensors")}
    result = learn_model(run.config, run, silent)
    assert all(p.read_bytes() == text for p, text in hashes.items()), "the supervised model changed"
    curve = result["curve"]
    assert curve[0]["divergence"] == pytest.approx(0, abs=1e-6)
    assert max(row["ndcg"] for row in curve) > curve[0]["ndcg"] + 0.05
    assert result["gate"]["published"], result["gate"]["why"]
    assert result["alone"]["learned"]["ndcg@10"]["value"] > result["alone"]["supervised"]["ndcg@10"]["value"]
    assert json.loads((run.path("learn") / "learn.json").read_text()) == result
    assert "published" in (run.path("learn") / "learn.html").read_text()
    made = Run.open(run.path("learn") / f"decoder-{name}")
    assert result["run"] == str(made.folder)
    assert not (run.path("learn") / "candidate").exists()
    slate = Pipeline.load(made.folder).recommend([Query(user_id="u0", k=3)])[0]
    assert len(slate.items) == 3
    done = CliRunner().invoke(commands, ["recommend", str(made.folder), "--user", "u0"])
    assert done.exit_code == 0, done.output
    if name == "preference":
        assert compress(made.config, made, ("dynamic_int8",), say=silent)["forms"]


def test_a_short_leash_stays_near():
    run = decoder_run()
    data = Dataset.load(run.path("data"))
    far = {}
    for beta in (0.0, 50.0):
        one = learner("group_relative", beta=beta, epochs=1, rate=4.0)
        fitter = ListFitter(run.config, data, run.path("model") / "finetuned", one)
        far[beta] = train_on(fitter, ListValidation.of(fitter), silent)[1]["divergence"]
    assert far[50.0] < 0.5 * far[0.0]


def test_the_best_pass_is_kept_and_starts_from_the_supervised_model():
    run = decoder_run()
    data = Dataset.load(run.path("data"))
    one = learner("preference", epochs=3, rate=500.0, patience=1)
    fitter = ListFitter(run.config, data, run.path("model") / "finetuned", one)
    saved = TrainedTexts.load(run.path("model") / "finetuned", data)
    np.testing.assert_allclose(fitter.first, scores_of(saved, fitter.sheet, "chosen", fitter.most_bytes), atol=1e-5)
    validation = ListValidation.of(fitter)
    curve = train_on(fitter, validation, silent)
    assert validation.measure(fitter.trained())["ndcg"] == pytest.approx(max(row["ndcg"] for row in curve), abs=1e-6)


def test_a_worse_model_is_refused():
    """The same model taught the contrary: its lists are surely worse, and no run is made of it."""

    class Contrary:
        makes, rate, epochs, patience = "model", 4.0, 1, 1

        def loss(self, now: Any, first: Any, chosen: Any, group: Any) -> Any:
            return learner("preference").loss(now, first, 1 - chosen, group)

    good = own(decoder_run(), learner("preference", epochs=4, rate=4.0, patience=4))
    start = Run.open(learn_model(good.config, good, silent)["run"])
    import genre.learn.model as module

    def spoiled(fitter: Any, validation: Any, say: Any) -> Any:
        fitter.learner = Contrary()
        for number in (1, 2, 3):
            fitter.epoch(fitter.phase, number, fitter.steppers(fitter.phase), lambda done: None)
        return [{"epoch": 0, "ndcg": 0.0, "divergence": 0.0}, {"epoch": 1, **validation.measure(fitter.trained())}]

    run = own(start, learner("preference", rate=4.0))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "train_on", spoiled)
        # Both readings alone decide: with a weight chosen on validation a useless one would count nothing.
        patch.setattr("genre.reranking.WEIGHTS", (float("inf"),))
        shutil.rmtree(run.path("rank"))
        rank(run.config, run)
        result = learn_model(run.config, run, silent)
    assert not result["gate"]["published"]
    assert "ndcg@10 fell by" in result["gate"]["why"][0]
    assert result["gate"]["comparisons"]["ndcg@10"]["ci95"][1] < 0
    assert list(run.path("learn").glob("*-preference")) == []
    assert "not published" in (run.path("learn") / "learn.html").read_text()


def test_what_no_pass_made_better_is_no_new_model():
    run = own(decoder_run(), learner("preference", epochs=1, rate=500.0))
    gate = learn_model(run.config, run, silent)["gate"]
    assert not gate["published"]
    assert gate["why"] == ["no pass ordered the lists of the valid part better, so it is the supervised model still"]
    assert gate["comparisons"]["ndcg@10"]["difference"] == 0


def test_what_cannot_be_learned_is_refused():
    run = own(finished(), learner("preference"))
    with pytest.raises(ConfigError, match=r"model\.formulation: cross"):
        learn_model(run.config, run, silent)
    pairs = finished_pairs()
    section: Any = pairs.config.model
    alone = replace(section, formulation=replace(section.formulation, negatives=0))
    conf = replace(pairs.config, model=alone)
    with pytest.raises(GenreError, match="no preference to learn"):
        ListFitter(conf, Dataset.load(pairs.path("data")), pairs.path("model") / "finetuned", learner("preference"))


def test_the_command_tells_the_decision():
    run = own(finished_pairs(), learner("preference"))
    done = CliRunner().invoke(commands, ["learn", "fit", str(run.folder)])
    assert done.exit_code == 0, done.output
    assert "re-ranked lists of 40 test people" in done.output
    assert "pairs-preference" in done.output
