"""Steps: every optimizer learns and goes on as if unbroken; schedules, averages, precision, checkpointing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from pydantic import TypeAdapter, ValidationError
from safetensors.torch import load_file, save_file
from torch import nn

from genre.component import Slot, find, names
from genre.config import ModelSection, TrainSection
from genre.curves import Curves
from genre.data import Dataset, Log
from genre.hidden import lower_states, padded
from genre.model import TrainedModel
from genre.run import Run
from genre.stack import Stack, Tuning, computes_bfloat16
from genre.stepping import Average, Stepper, averaged, tables_of
from genre.textencoder import build
from genre.train import train
from genre.validation import Validation
from toyworld import circle, config, dataset, tiny_backbone, tiny_decoder

OPTIMIZERS = names("optimizers")
RATES = {"sgd": {"rest": 0.5, "rest_finetune": 0.05, "backbone": 0.1}}
"""Where the rates of `adamw` do not carry over."""


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("GENRE_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture(scope="module")
def backbone(tmp_path_factory):
    return tiny_backbone(tmp_path_factory.mktemp("bert"))


class Net(nn.Module):
    """A table, matrices, vectors, and a weight that the loss does not reach."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(12, 6)
        self.inner, self.norm, self.out = nn.Linear(6, 8), nn.LayerNorm(8), nn.Linear(8, 1)
        self.idle = nn.Parameter(torch.ones(3, 3))

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return self.out(self.norm(self.inner(self.table(rows)).tanh())).squeeze(-1)


def stepper_of(net: Net, steps: int, **settings: Any) -> Stepper:
    return Stepper.over(net.named_parameters(), 0.01, steps, TrainSection(**settings), tables=tables_of(net))


def walk(net: Net, stepper: Stepper, numbers: range) -> float:
    loss = torch.zeros(())
    for number in numbers:
        rows = torch.from_numpy(np.random.default_rng(number).integers(0, 12, 32))
        loss = (net(rows) - (rows % 3).float()).square().mean()
        loss.backward()
        stepper.step()
    return float(loss.detach())


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_sgd_is_plain_or_with_momentum(momentum: float):
    weight = nn.Parameter(torch.tensor([1.0, 2.0]))
    sgd = Slot("optimizers").build({"type": "sgd", "momentum": momentum})
    train = TrainSection(optimizer=sgd, lr_warmup=0, schedule="constant", clip=99)
    stepper = Stepper.over([("w", weight)], 0.1, 10, train)
    for _ in range(2):
        (3 * weight).sum().backward()
        stepper.step()
    expected = torch.tensor([1.0, 2.0]) - 0.1 * 3 * (1 + 1 + momentum)
    torch.testing.assert_close(weight.detach(), expected)
    with pytest.raises(ValidationError, match="nesterov needs momentum"):
        TypeAdapter(find("optimizers", "sgd")).validate_python({"momentum": 0.0, "nesterov": True})


def test_muon_turns_matrices_evenly_and_leaves_tables_and_vectors_to_adamw():
    torch.manual_seed(0)
    net = Net()
    stepper = stepper_of(net, 10, optimizer="muon", lr_warmup=0.0)
    before = {name: p.detach().clone() for name, p in net.named_parameters()}
    walk(net, stepper, range(1))
    kept = {name: set(stepper.optimizer.state[p]) for name, p in net.named_parameters()}
    assert {name for name, state in kept.items() if state == {"momentum_buffer"}} == {"inner.weight"}
    assert {name for name, state in kept.items() if "exp_avg_sq" in state} == set(kept) - {"inner.weight", "idle"}
    turned = torch.linalg.svdvals(net.inner.weight.detach() - before["inner.weight"])
    assert turned.min() > 0.5 * turned.max(), "the gradient of one batch is far from even, the step is not"
    size = float(turned.square().mean().sqrt() / 8**0.5)
    assert 0.0005 < size < 0.005, "about as large as AdamW's at a rate of 0.01, of which a fifth is usual"


@pytest.mark.parametrize("ema", [None, 0.9])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_an_optimizer_goes_on_from_its_state_as_if_unbroken(name: str, ema: float | None, tmp_path: Path):
    torch.manual_seed(0)
    whole = Net()
    began = {key: value.clone() for key, value in whole.state_dict().items()}
    settings: dict[str, Any] = {"optimizer": name, "ema": ema, "lr_warmup": 0.5, "schedule": "linear"}
    first = stepper_of(whole, 20, **settings)
    walk(whole, first, range(7))
    tensors, facts = first.state()
    save_file(tensors, tmp_path / "state.safetensors")
    written = json.dumps(facts)
    half = {key: value.clone() for key, value in whole.state_dict().items()}
    walk(whole, first, range(7, 20))

    again = Net()
    again.load_state_dict(began)
    second = stepper_of(again, 20, **settings)
    again.load_state_dict(half)
    second.restore(load_file(tmp_path / "state.safetensors"), json.loads(written))
    assert second.optimizer.param_groups[0]["lr"] == pytest.approx(0.01 * 8 / 10)
    walk(again, second, range(7, 20))
    assert not torch.equal(whole.inner.weight, half["inner.weight"])
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), again.parameters(), strict=True))
    with averaged([first, second]):
        assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), again.parameters(), strict=True))
    assert torch.equal(whole.idle, again.idle)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_state_is_a_copy(name: str):
    net = Net()
    stepper = stepper_of(net, 10, optimizer=name, ema=0.9)
    walk(net, stepper, range(2))
    tensors, _ = stepper.state()
    kept = {key: value.clone() for key, value in tensors.items()}
    walk(net, stepper, range(2, 4))
    assert all(torch.equal(kept[key], tensors[key]) for key in kept)


@pytest.mark.parametrize(
    ("schedule", "factors"),
    [
        ("cosine", [0.5, 1.0, 1.0, 0.8535534, 0.5, 0.1464466, 0.0]),
        ("linear", [0.5, 1.0, 1.0, 0.75, 0.5, 0.25, 0.0]),
        ("constant", [0.5, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]),
    ],
)
def test_rates_rise_then_follow_the_schedule(schedule: str, factors: list[float]):
    net = Net()
    stepper = stepper_of(net, 6, schedule=schedule, lr_warmup=1 / 3)
    rates = [stepper.optimizer.param_groups[0]["lr"]]
    for number in range(6):
        walk(net, stepper, range(number, number + 1))
        rates.append(stepper.optimizer.param_groups[0]["lr"])
    assert rates == pytest.approx([0.01 * factor for factor in factors], abs=1e-8)


def test_rates_of_an_adapter_are_kept_apart():
    net = Net()
    tuning = Tuning(rate=lambda name: 4.0 if name.startswith("out") else 1.0)
    train = TrainSection(weight_decay=0.1)
    stepper = Stepper.over(net.named_parameters(), 0.01, 10, train, tuning, tables_of(net))
    groups = {id(p): group for group in stepper.optimizer.param_groups for p in group["params"]}
    facts = {name: groups[id(p)] for name, p in net.named_parameters()}
    assert (facts["out.weight"]["initial_lr"], facts["inner.weight"]["initial_lr"]) == (0.04, 0.01)
    assert (facts["out.weight"]["weight_decay"], facts["out.bias"]["weight_decay"]) == (0.1, 0.0)
    assert [name for name, group in facts.items() if group["table"]] == ["table.weight"]


def test_an_average_is_of_the_weights_after_each_step():
    weight = nn.Parameter(torch.tensor([0.0]))
    average = Average([weight], 0.5)
    for value in (1.0, 2.0, 3.0, 10.0):
        weight.data.fill_(value)
        average.update()
    mean = 0.0
    for decay, value in ((2 / 11, 1.0), (3 / 12, 2.0), (4 / 13, 3.0), (5 / 14, 10.0)):
        mean = decay * mean + (1 - decay) * value
    torch.testing.assert_close(average.means[0], torch.tensor([mean]))
    average.steps = 100
    average.update()
    torch.testing.assert_close(average.means[0], torch.tensor([(mean + 10) / 2]))
    average.swap()
    assert float(weight.detach()) == pytest.approx((mean + 10) / 2)
    average.swap()
    assert float(weight.detach()) == 10.0


def test_averaged_weights_are_put_back_even_after_an_error():
    net = Net()
    stepper = stepper_of(net, 10, ema=0.9)
    walk(net, stepper, range(3))
    before = [p.detach().clone() for p in net.parameters()]

    def fail() -> None:
        with averaged([stepper]):
            assert not torch.equal(net.inner.weight, before[1])
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert all(torch.equal(a, b) for a, b in zip(net.parameters(), before, strict=True))
    assert walk(net, stepper, range(3, 10)) < 2
    assert not torch.equal(net.inner.weight, before[1]), "the optimizer still moves the weights of the net"


@pytest.mark.parametrize("value", [0.0, 1.0, 1.5])
def test_an_average_over_nothing_or_everything_is_refused(value: float):
    with pytest.raises(ValidationError):
        TrainSection(ema=value)


def learn(backbone: dict[str, Any], folder: Path, model: dict[str, Any] | None = None, **settings: Any) -> Run:
    conf = config(backbone, model=model or {}, train=settings)
    run = Run.create(conf, folder)
    if not run.path("data").exists():
        dataset(circle()).save(run.path("data"))
    train(conf, run)
    return run


def losses_of(run: Run) -> list[float]:
    return pq.read_table(run.path("model") / "curves.parquet")["loss/next"].to_pylist()


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_learns_the_circle(name: str, backbone: dict[str, Any], tmp_path: Path):
    run = learn(
        backbone, tmp_path, optimizer=name, lr=RATES.get(name, {"rest": 1e-2, "backbone": 1e-2}), warmup_epochs=10
    )
    losses = losses_of(run)
    assert losses[-1] < losses[0] - 0.8
    moved = load_file(run.path("model") / "checkpoint" / "weights.safetensors")
    up = [weight for key, weight in moved.items() if "lora_B" in key]
    assert up
    assert max(float(weight.abs().max()) for weight in up) > 1e-3, "they began at zero"


@pytest.mark.parametrize(("name", "rows"), [(name, 2 + 2 * (i % 2)) for i, name in enumerate(OPTIMIZERS)])
def test_a_broken_training_ends_with_the_weights_of_an_unbroken_one(
    name: str,
    rows: int,
    backbone: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    settings: dict[str, Any] = {"optimizer": name, "ema": 0.8, "warmup_epochs": 3, "epochs": 4}
    settings |= {"lr": RATES.get(name, {}), "early_stopping": {"metric": "rating.rmse", "patience": 9}}
    model = {"dropout": 0.2, "adapter": {"type": "lora", "layers": 1, "r": 4, "dropout": 0.2}}
    whole = learn(backbone, tmp_path / "whole", model, **settings)
    add = Curves.add

    def break_off(curves: Curves, row: dict[str, Any]) -> None:
        add(curves, row)
        if len(curves.rows) > rows:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Curves, "add", break_off)
        with pytest.raises(KeyboardInterrupt):
            learn(backbone, tmp_path / "broken", model, **settings)
    broken = learn(backbone, tmp_path / "broken", model, **settings)
    assert f"going on after epoch {2 if rows == 2 else 1}" in capsys.readouterr().out
    assert losses_of(whole) == losses_of(broken)
    for file in ("towers", "text", "items"):
        one, other = (load_file(run.path("model") / "finetuned" / f"{file}.safetensors") for run in (whole, broken))
        assert all(torch.equal(one[key], other[key]) for key in one)


def test_what_is_measured_and_kept_is_the_average(backbone: dict[str, Any], tmp_path: Path):
    settings: dict[str, Any] = {"warmup_epochs": 2, "epochs": 3, "schedule": "constant"}
    settings |= {"lr": {"rest": 1e-2, "backbone": 2e-2, "rest_finetune": 1e-2}}
    settings["early_stopping"] = {"metric": "rating.rmse", "patience": 9}
    run = learn(backbone, tmp_path / "ema", ema=0.9, **settings)
    plain = learn(backbone, tmp_path / "plain", **settings)
    curves, others = (pq.read_table(one.path("model") / "curves.parquet").to_pylist() for one in (run, plain))
    data = Dataset.load(run.path("data"))
    facts = json.loads((run.path("model") / "training.json").read_text())
    tuned = [row for row in curves if row["phase"] == "finetune"]
    assert facts["best_epoch"] > 0
    model = TrainedModel.load(run.path("model") / "finetuned", data)
    measured = Validation(Log.of(data), model.heads, "rating.rmse").measure(model)["rating.rmse"]
    assert measured == pytest.approx(tuned[facts["best_epoch"] - 1]["valid/rating.rmse"], abs=1e-6)
    assert curves[0]["loss/next"] == others[0]["loss/next"], "it changes nothing of the steps"
    assert curves[0]["valid/rating.rmse"] != others[0]["valid/rating.rmse"]
    saved = run.path("model") / "checkpoint"
    now, best, state = (load_file(saved / f"{file}.safetensors") for file in ("weights", "best", "rest"))
    assert facts["best_epoch"] == len(tuned), "the last epoch is the best, so that its files can be compared"
    means = [value for key, value in state.items() if key.startswith("average.")]
    name = "model.project.weight"
    assert not torch.equal(best[name], now[name])
    assert any(torch.equal(best[name], mean) for mean in means)


def stack_of(make: Any, folder: Path, adapter: Any, **settings: Any) -> tuple[Stack, torch.Tensor, torch.Tensor | None]:
    chosen = {"formulation": "text", "backbone": make(folder, layers=2), "adapter": adapter}
    section = TypeAdapter(ModelSection).validate_python(chosen)
    loaded = section.backbone.load()
    torch.manual_seed(1)
    text, _ = build(section, loaded, TrainSection(**settings))
    for _, weight in text.opened():
        nn.init.normal_(weight, std=0.1)
    tokens = [[4, 5, 6, 7], [8, 9]]
    _, real = padded(loaded, tokens)
    return text.stack.train(), lower_states(loaded, tokens, text.stack.taps).clone(), real


def gradients(stack: Stack, states: torch.Tensor, real: torch.Tensor | None) -> tuple[torch.Tensor, list[torch.Tensor]]:
    torch.manual_seed(3)
    out = stack(states, real)
    (out[real] @ torch.randn(out.shape[-1])).tanh().mean().backward()
    return out.detach(), [p.grad for p in stack.parameters() if p.requires_grad and p.grad is not None]


@pytest.mark.parametrize("make", [tiny_backbone, tiny_decoder], ids=["encoder", "decoder"])
@pytest.mark.parametrize(
    "adapter", [{"type": "lora", "dropout": 0.3}, "full", "prefix"], ids=["lora", "full", "prefix"]
)
def test_checkpointing_gives_the_same_gradients_and_runs_layers_twice(make: Any, adapter: Any, tmp_path: Path):
    runs, found = {}, {}
    for on in (False, True):
        stack, states, real = stack_of(make, tmp_path, adapter, checkpointing=on)
        count: list[int] = []
        handles = [layer.register_forward_pre_hook(lambda *_, c=count: c.append(1)) for layer in stack.layers]
        found[on], runs[on] = gradients(stack, states, real), len(count)
        assert len(handles) == len(stack.layers)
        assert runs[on] == len(stack.layers) * (1 + on)
    assert torch.equal(found[False][0], found[True][0])
    assert found[True][1]
    for one, other in zip(found[False][1], found[True][1], strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("make", [tiny_backbone, tiny_decoder], ids=["encoder", "decoder"])
@pytest.mark.parametrize("name", [name for name in names("adapters") if name not in ("frozen", "adalora")])
def test_bfloat16_is_near_float32_and_only_while_training(name: str, make: Any, checkpointing: bool, tmp_path: Path):
    exact, states, real = stack_of(make, tmp_path, name)
    coarse, *_ = stack_of(make, tmp_path, name, precision="bfloat16", checkpointing=checkpointing)
    coarse.load_state_dict(exact.state_dict())
    for stack in (exact, coarse):
        for module in stack.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.0
    (out, right), (rough, near) = gradients(exact, states, real), gradients(coarse, states, real)
    assert rough.dtype == torch.float32
    assert not torch.equal(out, rough)
    torch.testing.assert_close(out[real], rough[real], rtol=0.05, atol=0.05)
    assert len(right) == len(near) > 0
    one, other = (torch.cat([g.flatten() for g in found]) for found in (right, near))
    assert torch.cosine_similarity(one, other, dim=0) > 0.98
    assert all(g.dtype == torch.float32 for g in near)
    assert torch.equal(exact.eval()(states, real), coarse.eval()(states, real))


def test_bfloat16_learns_and_says_where_it_is_slow(
    backbone: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    assert isinstance(computes_bfloat16(), bool)
    monkeypatch.setattr("genre.train.computes_bfloat16", lambda: False)
    settings: dict[str, Any] = {"warmup_epochs": 3, "epochs": 3, "precision": "bfloat16", "checkpointing": True}
    run = learn(backbone, tmp_path / "coarse", **settings)
    assert "this processor has no bfloat16 instructions" in capsys.readouterr().out
    exact = learn(backbone, tmp_path / "exact", warmup_epochs=3, epochs=3)
    assert "bfloat16" not in capsys.readouterr().out
    coarse, right = losses_of(run), losses_of(exact)
    assert coarse[:3] == right[:3], "the language model is held still in the warm-up"
    assert coarse[3:] != right[3:]
    assert coarse[3:] == pytest.approx(right[3:], rel=0.01)


def test_an_optimizer_is_named_barely_or_with_settings():
    read = TypeAdapter(TrainSection).validate_python
    assert read({"optimizer": "adamw"}) == TrainSection()
    named = {"type": "muon", "momentum": 0.9}
    assert read({"optimizer": named}).optimizer == Slot("optimizers").build(named)
