"""Training on what a batch almost is: directions, bounds and penalties with known answers, and runs of each."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, ClassVar, Literal

import pyarrow.parquet as pq
import pytest
import torch
from torch import Tensor

from genre.adversarial import apart
from genre.component import Slot, component, names
from genre.heads import Examples, LabelFacts, Language
from genre.perturbations import Pass, Reading, Said
from genre.run import Run
from genre.textfitting import TextFitter
from genre.textmodel import read
from genre.train import train
from toyworld import circle, dataset, reviews, text_config, tiny_backbone

SPLIT = {"type": "random", "per": "log", "valid": 0.2, "test": 0.2}
ALL = names("perturbations")


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("GENRE_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture(scope="module")
def backbone(tmp_path_factory):
    return tiny_backbone(tmp_path_factory.mktemp("bert"))


def linear(head: Callable[[Tensor], Tensor] | None = None) -> tuple[Reading, list[Tensor], Tensor]:
    """Two texts, the second of one token only, and a head whose loss is linear in their states; what it has read."""
    torch.manual_seed(0)
    entering, weight = torch.randn(2, 3, 4), torch.randn(3, 4)
    real = torch.tensor([[True, True, True], [True, False, False]])
    seen: list[Tensor] = []

    def read(states: Tensor) -> Pass:
        seen.append(states.detach().clone())
        said = (states * real[:, :, None] * weight).sum((1, 2))
        losses = {"a": said.sum() if head is None else head(said)}
        return Pass(losses, lambda: {"a": Said("regression", said)})

    return Reading(entering, real, read, {"a": 2.0}), seen, weight * real[:, :, None]


@pytest.mark.parametrize("norm", ["l2", "sign"])
def test_fgm_of_a_linear_head_goes_along_its_weights(norm: str):
    reading, (seen), weight = linear()
    losses = Slot("perturbations").build({"type": "fgm", "epsilon": 0.1, "norm": norm, "share": 0.5}).losses(reading)
    plain, moved = seen
    step = moved - plain
    along = weight if norm == "l2" else weight.sign()
    length = 0.1 * (reading.entering * reading.real[:, :, None]).flatten(1).norm(dim=1)
    torch.testing.assert_close(step, length[:, None, None] * along / along.flatten(1).norm(dim=1)[:, None, None])
    gained = (step * weight).sum()
    before = (plain * weight).sum()
    torch.testing.assert_close(losses["a"], before + 0.5 * gained)
    assert gained > 0


def test_fgm_can_be_told_to_read_the_moved_batch_alone():
    reading, seen, weight = linear()
    losses = Slot("perturbations").build({"type": "fgm", "share": 1.0}).losses(reading)
    torch.testing.assert_close(losses["a"], (seen[1] * weight).sum())


@pytest.mark.parametrize("steps", [2, 5])
def test_freelb_stays_in_its_ball_and_climbs(steps: int):
    reading, seen, weight = linear()
    part = Slot("perturbations").build({"type": "freelb", "steps": steps, "step": 0.3, "epsilon": 0.2})
    losses = part.losses(reading)
    assert len(seen) == steps == part.passes
    norm = (reading.entering * reading.real[:, :, None]).flatten(1).norm(dim=1)
    lengths = torch.stack([(one - reading.entering).flatten(1).norm(dim=1) / norm for one in seen])
    assert (lengths <= 0.2 + 1e-5).all()
    assert (lengths[0] > 0).all()
    changes = torch.stack([one - reading.entering for one in seen])
    assert (changes[:, ~reading.real] == 0).all(), "padding is left alone"
    values = torch.stack([(one * weight).sum((1, 2)) for one in seen])
    assert (values[1:] > values[0]).all()
    torch.testing.assert_close(losses["a"], values.sum(1).mean())
    end = changes[-1]
    if steps == 5:  # a step is longer than the ball, so after some the end is its farthest place uphill
        torch.testing.assert_close(
            end, 0.2 * norm[:, None, None] * weight / weight.flatten(1).norm(dim=1)[:, None, None], atol=2e-2, rtol=0
        )


def test_freelb_drops_the_same_in_all_its_passes():
    torch.manual_seed(0)
    masks: list[Tensor] = []

    def read(states: Tensor) -> Pass:
        masks.append(torch.rand(5))
        return Pass({"a": states.square().sum()}, dict)

    reading = Reading(torch.randn(2, 3, 4), torch.ones(2, 3, dtype=torch.bool), read, {"a": 1.0})
    Slot("perturbations").build("freelb").losses(reading)
    assert all(torch.equal(masks[0], one) for one in masks)


@pytest.mark.parametrize("predicts", ["binary", "multiclass", "tokens", "regression"])
def test_predictions_are_apart_by_what_they_differ_in(predicts: Any):
    one, other = torch.tensor([0.2, 0.9, 0.5]), torch.tensor([0.3, 0.5, 0.5])
    if predicts in ("multiclass", "tokens"):
        expected = apart(Said("binary", one), Said("binary", other))
        one, other = torch.stack([one, 1 - one], 1), torch.stack([other, 1 - other], 1)
    elif predicts == "binary":
        p, q = (torch.distributions.Bernoulli(x) for x in (one, other))
        kl = torch.distributions.kl_divergence
        expected = 0.5 * (kl(p, q) + kl(q, p)).mean()
    else:
        expected = torch.tensor((0.01 + 0.16) / 3)
    torch.testing.assert_close(apart(Said(predicts, one), Said(predicts, other)), expected)
    assert apart(Said(predicts, one), Said(predicts, one)) == 0
    assert apart(Said(predicts, one[:0]), Said(predicts, one[:0])) == 0
    sure = torch.tensor([[1.0, 0.0]]) if one.ndim > 1 else torch.tensor([1.0])
    assert torch.isfinite(apart(Said(predicts, sure), Said(predicts, 1 - sure)))


def fitter(backbone: dict[str, Any], dropout: float, **train_: Any) -> TextFitter:
    conf = text_config(backbone, model={"dropout": dropout}, train=train_)
    made = TextFitter(conf, dataset(reviews(), SPLIT))
    made.text.stack.noisy = False
    return with_opinions(made)


def with_opinions(made: TextFitter) -> TextFitter:
    """Heads begin without any weight on what they read, so that nothing would be uphill."""
    torch.manual_seed(0)
    for weight in made.model.parameters():
        torch.nn.init.normal_(weight, std=0.3)
    return made


def losses_of(made: TextFitter, plain: bool) -> dict[str, float]:
    batches = made._batches("finetune", 1)
    torch.manual_seed(1)
    return made._backward(next(batches), "finetune", plain)


def test_rdrop_asks_nothing_where_nothing_is_dropped(backbone):
    still = fitter(backbone, 0.0, perturb={"type": "rdrop", "alpha": 5.0})
    assert losses_of(still, plain=False) == pytest.approx(losses_of(still, plain=True), rel=1e-5)
    dropping = [fitter(backbone, 0.5, perturb={"type": "rdrop", "alpha": alpha}) for alpha in (1e-9, 5.0)]
    least, much = (losses_of(one, plain=False) for one in dropping)
    assert all(much[name] > least[name] for name in much)


@pytest.mark.parametrize("name", sorted(set(ALL) - {"freelb"}))
def test_pieces_of_a_batch_give_the_gradient_of_the_whole(backbone, name: str):
    """Without anything random, as the place where `freelb` starts, the piece that a text is read in does not matter."""
    found = []
    for budget in (8192, 256):
        made = fitter(backbone, 0.0, perturb=name, token_budget=budget, batch_size=100)
        assert made._backward(next(made._batches("finetune", 1)), "finetune").keys() == {"stars", "recommended"}
        found.append(torch.cat([weight.grad.flatten() for _, weight in made.text.opened() if weight.grad is not None]))
    assert found[0].abs().sum() > 0
    # Where a label is missing in some rows, the mean of a piece's means is not that of the whole.
    assert torch.nn.functional.cosine_similarity(found[0], found[1], dim=0) > 0.98


@pytest.mark.parametrize("name", ALL)
def test_training_learns_and_says_what_it_costs(backbone, tmp_path, name: str):
    lr = {"rest": 1e-2, "backbone": 5e-3, "rest_finetune": 5e-3}
    # Random weights make all texts nearly alike, so that the least move makes one of them another.
    near = {"fgm": {"epsilon": 0.01}, "freelb": {"epsilon": 0.01, "step": 0.005}, "rdrop": {"alpha": 0.2}}
    more = {"warmup_epochs": 15, "epochs": 6, "lr": lr, "perturb": {"type": name, **near.get(name, {})}}
    conf = text_config(backbone, model={"dropout": 0.1}, train=more)
    run = Run.create(conf, tmp_path)
    dataset(reviews(), SPLIT).save(run.path("data"))
    train(conf, run)
    curves = pq.read_table(run.path("model") / "curves.parquet").to_pydict()
    tuned = [i for i, phase in enumerate(curves["phase"]) if phase == "finetune"]
    assert curves["loss/stars"][tuned[-1]] < curves["loss/stars"][tuned[0]]
    assert curves["valid/stars.rmse"][-1] < 1.2
    cost = json.loads((run.path("model") / "training.json").read_text())["perturb"]
    assert cost["factor"] == pytest.approx(cost["seconds_per_step"] / cost["without"])


@pytest.mark.parametrize("name", ALL)
def test_pairs_are_perturbed_too(backbone, name: str):
    formulation = {"type": "cross", "targets": 2, "negatives": 2, "pool": 10}
    heads = {"chosen": {"type": "binary", "label": "chosen"}}
    model = {"formulation": formulation, "template": "{title}", "max_tokens": 32, "heads": heads, "dropout": 0.2}
    made = with_opinions(TextFitter(text_config(backbone, model=model, train={"perturb": name}), dataset(circle())))
    losses = made._backward(next(made._batches("finetune", 1)), "finetune")
    assert losses["chosen"] > 0
    assert any(weight.grad is not None and weight.grad.abs().sum() > 0 for _, weight in made.text.opened())


@component
class Tags:
    """A class for every token."""

    predicts: ClassVar[Literal["tokens"]] = "tokens"
    reads: ClassVar[Literal["tokens"]] = "tokens"
    label: str = "names"
    weight: float = 1.0

    def build(self, dim: int, label: LabelFacts, language: Language | None) -> torch.nn.Module:
        return torch.nn.Linear(dim, 1 + 2 * len(label.names))

    def loss(self, module: Any, examples: Examples) -> Tensor:
        assert examples.tokens is not None
        logits = module(examples.tokens.states)
        return torch.nn.functional.cross_entropy(logits.flatten(0, 1), examples.tokens.labels.flatten())

    def predict(self, module: Any, examples: Examples) -> Tensor:
        assert examples.tokens is not None
        return module(examples.tokens.states).softmax(-1)


def test_heads_of_tokens_agree_where_tokens_have_a_label(backbone):
    found = []
    for alpha in (1e-9, 10.0):
        perturb = {"type": "rdrop", "alpha": alpha}
        model = {"heads": {"tags": Tags(), "stars": "regression"}, "dropout": 0.5}
        made = with_opinions(
            TextFitter(text_config(backbone, model=model, train={"perturb": perturb}), dataset(reviews(), SPLIT))
        )
        found.append(losses_of(made, plain=False)["tags"])
    assert found[1] > found[0] > 0
    rows = next(made._batches("finetune", 1))
    made_of = made.model.examples(read(made.text, made.states, rows, made.sheet, tokens=True), made.sheet, rows)
    said = made._said(list(made_of))
    real = sum(int((made.sheet.token_labels["tags"][row] >= 0).sum()) for row in rows)
    assert said["tags"].values.shape == (real, 3)
    assert said["stars"].values.shape == (len(rows),)
