"""Adapters: what each trains, that it learns, is saved, merged and swapped, on an encoder and on a decoder."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter
from pydantic_core import PydanticCustomError
from safetensors.torch import load_file, save_file

from genre.adapterlayers import PrefixCache
from genre.backbones import Loaded
from genre.component import Slot, names
from genre.config import ModelSection, TrainSection
from genre.errors import GenreError
from genre.hidden import PassingStates, lower_states, padded, tokenize
from genre.merging import merge, save_merged
from genre.stack import Stack, Tuning
from genre.stepping import Stepper
from genre.textencoder import build, load
from toyworld import WORDS, tiny_backbone, tiny_decoder

DEPTH = 3
MERGED = ["lora", "dora", "adalora", "ia3"]
OPENED = ["full", "top_layers", "bitfit", "frozen"]
VARIANTS: list[dict[str, Any]] = [
    *({"type": name} for name in names("adapters")),
    {"type": "lora", "targets": ["query", "key", "value", "output", "up", "down"], "layers": 1, "r": 4},
    {"type": "bottleneck", "placement": "houlsby"},
    {"type": "prefix", "hidden": 16, "layers": 3},
    {"type": "ia3", "targets": ["query", "key", "value", "output", "up", "down"]},
    {"type": "top_layers", "layers": 2, "decay": 0.5, "unfreeze": 0.5},
]
TOKENS = [[4, 5, 6, 7, 9], [8, 9], [10, 11, 12], [5, 4, 13]]


def titled(adapter: dict[str, Any]) -> str:
    """``lora-r=4``: the name of a test's case."""
    return "-".join([adapter["type"], *(f"{k}={v}" for k, v in adapter.items() if k not in ("type", "targets"))])


def tiny(kind: str, folder: Path) -> Loaded:
    """A tiny model whose matrices are as large as learned ones: those that transformers makes hardly do anything."""
    backbone = (tiny_backbone if kind == "encoder" else tiny_decoder)(folder, layers=DEPTH)
    weights = load_file(folder / "model.safetensors")
    large = {name: w * 8 if w.ndim == 2 and "embed" not in name else w for name, w in weights.items()}
    save_file(large, folder / "model.safetensors", metadata={"format": "pt"})
    return Slot("backbones").build(backbone).load()


@pytest.fixture(scope="module", params=["encoder", "decoder"])
def loaded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    return tiny(request.param, tmp_path_factory.mktemp(request.param))


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    return tiny("encoder", tmp_path_factory.mktemp("bert"))


def adapted(loaded: Loaded, adapter: Any, seed: int = 0) -> tuple[Stack, Tuning]:
    torch.manual_seed(seed)
    chosen = Slot("adapters").build(adapter)
    stack = Stack(loaded, chosen.taps(len(loaded.layers)))
    tuning = chosen.apply(stack)
    return stack.eval(), tuning


def opened(stack: Stack) -> dict[str, torch.nn.Parameter]:
    return {name: weight for name, weight in stack.named_parameters() if weight.requires_grad}


def outputs(loaded: Loaded, stack: Stack, tokens: list[list[int]] = TOKENS) -> torch.Tensor:
    """Mean states of the texts: ``[texts, hidden]``."""
    states, (_, real) = lower_states(loaded, tokens, stack.taps).clone(), padded(loaded, tokens)
    weights = real[..., None].float()
    return (stack(states, real) * weights).sum(1) / weights.sum(1)


def perturb(stack: Stack, seed: int) -> None:
    """Move what is trained, as a training would."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for weight in opened(stack).values():
            weight.add_(torch.randn_like(weight) * 0.1)


def train(loaded: Loaded, stack: Stack, tuning: Tuning, steps: int, lr: float) -> list[float]:
    """Tell apart by their mean states texts that hold the word 4 from those that do not; the loss of each step."""
    rng = np.random.default_rng(0)
    tokens = [rng.integers(6, 26, rng.integers(2, 6)).tolist() for _ in range(24)]
    labels = torch.arange(24) % 2
    tokens = [[*one, 4] if label else one for one, label in zip(tokens, labels.tolist(), strict=True)]
    probe = torch.randn(loaded.hidden_size, 2, generator=torch.Generator().manual_seed(1))
    stepper = Stepper.over(opened(stack).items(), lr, steps, TrainSection(lr_warmup=0.0), tuning)
    losses = []
    for _ in range(steps):
        loss = torch.nn.functional.cross_entropy(outputs(loaded, stack, tokens) @ probe, labels)
        loss.backward()
        stepper.step()
        losses.append(loss.item())
    return losses


@pytest.mark.parametrize("adapter", VARIANTS, ids=titled)
def test_it_learns_and_moves_only_its_own(loaded: Loaded, adapter: dict[str, Any]):
    before = {name: weight.clone() for name, weight in loaded.layers.state_dict().items()}
    whole = sum(weight.numel() for weight in loaded.layers.parameters())
    stack, tuning = adapted(loaded, adapter)
    mine, rest = opened(stack), {n: p.clone() for n, p in stack.named_parameters() if not p.requires_grad}
    start = {name: weight.detach().clone() for name, weight in mine.items()}
    count = sum(weight.numel() for weight in mine.values())
    if adapter["type"] == "frozen":
        assert not count
        return
    losses = train(loaded, stack, tuning, 30, lr=1e-2)
    assert all(math.isfinite(loss) for loss in losses)
    assert np.mean(losses[-3:]) < 0.9 * losses[0], losses
    moved = {name for name, weight in mine.items() if not torch.equal(weight, start[name])}
    assert moved == set(mine)
    assert all(torch.equal(rest[name], weight) for name, weight in stack.named_parameters() if name in rest)
    assert all(torch.equal(before[name], weight) for name, weight in loaded.layers.state_dict().items())
    if adapter["type"] in ("bitfit", "ia3", "prompt", "lora", "dora", "adalora", "prefix", "bottleneck"):
        assert 0 < count < whole / 2
    if adapter["type"] == "full":
        norm = 0 if loaded.anatomy.norm is None else loaded.hidden_size
        assert count == whole + norm


@pytest.mark.parametrize("adapter", VARIANTS, ids=titled)
def test_what_it_learned_is_saved_whole(loaded: Loaded, adapter: dict[str, Any], tmp_path: Path):
    stack, _ = adapted(loaded, adapter)
    stack.closed = 0
    perturb(stack, 1)
    save_file({n: w.detach().clone().contiguous() for n, w in opened(stack).items()}, tmp_path / "adapter.safetensors")
    again, _ = adapted(loaded, adapter, seed=5)
    if adapter["type"] != "frozen":
        assert not torch.allclose(outputs(loaded, again), outputs(loaded, stack), atol=1e-3)
    again.load_state_dict(load_file(tmp_path / "adapter.safetensors"), strict=False)
    torch.testing.assert_close(outputs(loaded, again), outputs(loaded, stack), rtol=0, atol=0)


def test_many_adapters_stand_on_one_model(loaded: Loaded):
    pretrained = {weight.data_ptr() for weight in loaded.layers.parameters()}
    alone = {}
    for number, name in enumerate(names("adapters")):
        stack, _ = adapted(loaded, name)
        perturb(stack, number)
        alone[name] = outputs(loaded, stack)
    stacks = {name: adapted(loaded, name)[0] for name in names("adapters")}
    for number, stack in enumerate(stacks.values()):
        perturb(stack, number)
    for name, stack in stacks.items():
        torch.testing.assert_close(outputs(loaded, stack), alone[name], rtol=0, atol=0)
        mine = {weight.data_ptr() for weight in opened(stack).values()}
        assert not mine & pretrained
        kept = [w for n, w in stack.layers.named_parameters() if not w.requires_grad and "ranknum" not in n]
        assert {weight.data_ptr() for weight in kept} <= pretrained
    assert not any("lora" in name for name, _ in loaded.layers.named_modules())
    assert not any("lora" in name for name, _ in stacks["frozen"].named_modules())


def test_adapters_of_one_kind_are_swapped_in_place(encoder: Loaded):
    kept = {}
    for tenant in (1, 2):
        stack, _ = adapted(encoder, "lora")
        perturb(stack, tenant)
        kept[tenant] = ({n: w.detach().clone() for n, w in opened(stack).items()}, outputs(encoder, stack))
    stack, _ = adapted(encoder, "lora")
    for tenant in (1, 2, 1):
        stack.load_state_dict(kept[tenant][0], strict=False)
        torch.testing.assert_close(outputs(encoder, stack), kept[tenant][1], rtol=0, atol=0)
    assert not torch.allclose(kept[1][1], kept[2][1], atol=1e-3)


@pytest.mark.parametrize("adapter", [v for v in VARIANTS if v["type"] in MERGED + OPENED], ids=titled)
def test_merged_it_says_the_same_by_plain_layers(loaded: Loaded, adapter: dict[str, Any], tmp_path: Path):
    before = {name: weight.clone() for name, weight in loaded.layers.state_dict().items()}
    kinds = {type(module) for module in loaded.layers.modules()}
    stack, _ = adapted(loaded, adapter)
    perturb(stack, 3)
    expected = outputs(loaded, stack)
    merge(stack)
    torch.testing.assert_close(outputs(loaded, stack), expected, rtol=1e-4, atol=1e-4)
    assert {type(module) for module in stack.layers.modules()} <= kinds
    assert all(torch.equal(before[name], weight) for name, weight in loaded.layers.state_dict().items())
    save_merged(loaded, stack, tmp_path / "merged")
    read = Slot("backbones").build({"type": "huggingface", "path": str(tmp_path / "merged")}).load()
    torch.testing.assert_close(outputs(read, Stack(read, (DEPTH,))), expected, rtol=1e-4, atol=1e-4)
    assert (read.revision == loaded.revision) == (adapter["type"] == "frozen")
    assert (read.vocabulary is None) == (loaded.vocabulary is None)
    assert read.tokenizer("redcup word1")["input_ids"] == loaded.tokenizer("redcup word1")["input_ids"]


@pytest.mark.parametrize(
    ("name", "why"),
    [("prompt", "in front of each text"), ("prefix", "in front of"), ("side", "beside"), ("bottleneck", "not linear")],
)
def test_what_cannot_be_merged_says_why(encoder: Loaded, name: str, why: str):
    stack, _ = adapted(encoder, name)
    with pytest.raises(GenreError, match=f"cannot be merged: .*{why}"):
        merge(stack)


WORDS_OF = ("query", "key", "value", "output", "up", "down")


def test_targets_are_the_same_words_everywhere(loaded: Loaded):
    stack = Stack(loaded, (1,))
    found = stack.parts(WORDS_OF)
    linear = [name for name, module in stack.named_modules() if isinstance(module, torch.nn.Linear)]
    assert sorted(found) == sorted(linear)
    assert len(stack.parts(["query"])) == DEPTH - 1
    for word in WORDS_OF:
        targets = {n.partition(".lora_")[0] for n in opened(adapted(loaded, {"type": "lora", "targets": [word]})[0])}
        assert targets == set(stack.parts([word]))


def test_a_target_that_the_model_lacks_is_named_with_what_it_has(tmp_path: Path):
    model = Slot("backbones").build(tiny_backbone(tmp_path)).load()
    for layer in model.layers:
        layer.intermediate = torch.nn.Identity()
    stack = Stack(model, (0,))
    with pytest.raises(GenreError, match="no 'up'; they have query, key, value, output, down"):
        Slot("adapters").build({"type": "lora", "targets": ["query", "up"]}).apply(stack)
    with pytest.raises(PydanticCustomError):
        Slot("adapters").build({"type": "lora", "targets": ["dense"]})


def test_bitfit_trains_biases_or_else_the_norms_scales(loaded: Loaded):
    mine = opened(adapted(loaded, "bitfit")[0])
    last = "norm.weight" if loaded.anatomy.causal else ".bias"
    assert mine
    assert all(name.endswith(last) and name.startswith("layers.") for name in mine)


def ranks(stack: Stack) -> list[int]:
    return [int((weight != 0).sum()) for name, weight in stack.named_parameters() if "lora_E" in name]


ADALORA = {"type": "adalora", "init_r": 6, "target_r": 2, "targets": ["query", "value", "up", "down"]}


def test_rank_really_moves_to_where_it_is_needed(loaded: Loaded):
    stack, tuning = adapted(loaded, ADALORA)
    seen = []
    after = tuning.after_step
    assert after is not None
    tuning.after_step = lambda step, most: (after(step, most), seen.append(ranks(stack)))[0]
    train(loaded, stack, tuning, 40, lr=1e-2)
    matrices = len(seen[0])
    assert sum(seen[3]) == 6 * matrices, "nothing is taken away before tinit"
    totals = [sum(one) for one in seen[4:]]
    assert totals == sorted(totals, reverse=True)
    assert len(set(totals)) > 5, "it falls by and by"
    assert sum(seen[27]) == sum(seen[-1]) == 2 * matrices
    assert len(set(seen[-1])) > 1


def test_orthogonality_is_learned(encoder: Loaded):
    stack, tuning = adapted(encoder, ADALORA)
    assert tuning.penalty is not None
    before = tuning.penalty().item()
    train(encoder, stack, tuning, 30, lr=1e-2)
    assert tuning.penalty().item() < 0.8 * before


@pytest.mark.parametrize("adapter", [ADALORA, VARIANTS[-1]], ids=titled)
def test_broken_off_and_gone_on_with_it_ends_the_same(encoder: Loaded, adapter: dict[str, Any]):
    def steps(stack: Stack, tuning: Tuning, numbers: range) -> None:
        assert tuning.after_step is not None
        for step in numbers:
            outputs(encoder, stack).square().sum().backward()
            if tuning.penalty is not None:
                tuning.penalty().backward()
            with torch.no_grad():
                for weight in opened(stack).values():
                    if weight.grad is not None:
                        weight.sub_(0.01 * weight.grad.sign())
            tuning.after_step(step + 1, 20)
            stack.zero_grad(set_to_none=True)

    unbroken, tuning = adapted(encoder, adapter)
    steps(unbroken, tuning, range(20))
    first, tuning = adapted(encoder, adapter)
    steps(first, tuning, range(9))
    state = {name: tensor.clone() for name, tensor in tuning.state().items()}
    assert state
    second, tuning = adapted(encoder, adapter, seed=9)
    second.load_state_dict(opened(first), strict=False)
    tuning.restore(state)
    steps(second, tuning, range(9, 20))
    for name, weight in opened(unbroken).items():
        torch.testing.assert_close(opened(second)[name], weight, rtol=0, atol=0)


def test_layers_open_one_by_one_from_the_top(loaded: Loaded):
    stack, tuning = adapted(loaded, {"type": "top_layers", "layers": 3, "unfreeze": 0.5})
    start = {name: weight.detach().clone() for name, weight in opened(stack).items()}
    moved, after = [], tuning.after_step
    assert after is not None

    def watch(step: int, most: int) -> None:
        names = {name for name, weight in opened(stack).items() if not torch.equal(weight, start[name])}
        moved.append({int(name.split(".")[1]) for name in names if name.startswith("layers.")})
        after(step, most)

    tuning.after_step = watch
    train(loaded, stack, tuning, 20, lr=1e-3)
    # Of 20 steps 10 open layers: the second one after 5, the third after 10.
    assert moved == [{2}] * 5 + [{1, 2}] * 5 + [{0, 1, 2}] * 10


@pytest.mark.parametrize("name", ["top_layers", "full"])
def test_lower_layers_have_lower_rates(loaded: Loaded, name: str):
    layers = {"layers": 3} if name == "top_layers" else {}
    stack, tuning = adapted(loaded, {"type": name, "decay": 0.5, **layers})
    rates = {key: tuning.rate(key) for key in opened(stack)}
    for key, rate in rates.items():
        assert rate == (0.5 ** (2 - int(key.split(".")[1])) if key.startswith("layers.") else 1.0)
    stepper = Stepper.over(opened(stack).items(), 1.0, 10, TrainSection(lr_warmup=0.0), tuning)
    assert {group["initial_lr"] for group in stepper.optimizer.param_groups} == {1.0, 0.5, 0.25}


def test_a_prefix_reads_as_words_in_front(encoder: Loaded):
    """Keys and values that a real word has in a layer, given as a prefix, are attended to like that word."""
    layer = Stack(encoder, (2,)).layers[0]
    states = lower_states(encoder, [[4, 5, 6, 7]], (2,)).clone()
    attention = layer.attention.self
    front = states[0, :1]
    learned = torch.stack([attention.key(front), attention.value(front)], 1)[:, None]
    masks = {"attention_mask": None}
    expected = layer(states, **masks)[:, 1:]
    torch.testing.assert_close(layer(states[:, 1:], **masks, past_key_values=PrefixCache(learned, 2)), expected)


@pytest.mark.parametrize("name", [name for name in names("adapters") if name != "frozen"])
def test_computed_anew_for_the_backward_pass_the_gradient_is_the_same(loaded: Loaded, name: str):
    stack, _ = adapted(loaded, name)
    perturb(stack, 0)
    found = []
    for stack.checkpointing in (False, True):
        stack.zero_grad(set_to_none=True)
        outputs(loaded, stack).square().sum().backward()
        found.append({name: weight.grad for name, weight in opened(stack).items()})
    torch.testing.assert_close(found[1], found[0])


def test_the_ladder_runs_no_layer_and_gives_them_no_gradient(loaded: Loaded):
    stack, _ = adapted(loaded, {"type": "side", "rungs": 3})
    assert stack.taps == (1, 2, 3)
    assert len(stack.layers) == 0
    assert all(name.startswith("ladder.") for name in opened(stack))
    states = lower_states(loaded, TOKENS, stack.taps).clone()
    perturb(stack, 0)
    _, real = padded(loaded, TOKENS)
    whole = stack(states, real)
    changed = states.clone()
    changed[~real] += 5.0
    torch.testing.assert_close(stack(changed, real)[real], whole[real])
    short = stack(states[:1, :3], None)
    if loaded.anatomy.causal:
        torch.testing.assert_close(short, whole[:1, :3])
    else:
        assert not torch.allclose(short, whole[:1, :3], atol=1e-3)


def test_a_dropped_input_is_dropped_twice_in_a_round_and_never_after(encoder: Loaded):
    """The gradient of a round is that of the vectors its losses were taken at."""
    texts = [f"{word} word{number}" for number, word in enumerate(WORDS)]
    text, _ = build(ModelSection(adapter={"type": "lora", "dropout": 0.5, "r": 4}), encoder)
    perturb(text.stack, 0)
    rows = np.arange(len(texts))
    states = PassingStates.of(encoder, tokenize(encoder, texts, 16), text.stack.taps)
    text.train()
    vectors = text.encode(states, rows, 32)
    assert not torch.equal(vectors, text.encode(states, rows, 32))
    vectors = text.encode(states, rows, 32)
    seen: list[torch.Tensor] = []
    hook = text.register_forward_hook(lambda module, args, out: seen.append(out.detach()))
    torch.randn(3)
    text.backward(states, rows, torch.ones_like(vectors), 32)
    hook.remove()
    parts = torch.cat([torch.from_numpy(part) for part in text._parts(states, rows, 32)])
    torch.testing.assert_close(torch.cat(seen), vectors[parts], rtol=0, atol=0)
    text.eval()
    torch.testing.assert_close(text.encode(states, rows, 32), text.encode(states, rows, 32), rtol=0, atol=0)
    assert not any(module.training for module in text.modules())


@pytest.mark.parametrize(
    ("wrong", "why"),
    [({"init_r": 4, "target_r": 4}, "must be below init_r 4"), ({"tinit": 0.6, "tfinal": 0.4}, "leave no steps")],
)
def test_adalora_says_what_does_not_fit(wrong: dict[str, Any], why: str):
    cls = type(Slot("adapters").build("adalora"))
    with pytest.raises(ValueError, match=why):
        TypeAdapter(cls).validate_python(wrong)


REAL = [("minilm", name) for name in names("adapters")]
REAL += [(model, name) for model in ("e5_small", "smollm2") for name in ("lora", "adalora", "prefix", "bottleneck")]


@pytest.mark.slow
@pytest.mark.parametrize(("model", "name"), REAL)
def test_a_real_language_model_learns_by_it(model: str, name: str, tmp_path: Path):
    try:
        real = load(Slot("backbones").build(model))
    except GenreError as error:
        pytest.skip(str(error))
    stack, tuning = adapted(real, name)
    mine = opened(stack)
    print(f"{model}, {name}: {sum(weight.numel() for weight in mine.values())} weights")
    if name != "frozen":
        losses = train(real, stack, tuning, 3, lr=1e-5 if name in ("full", "top_layers") else 1e-3)
        assert all(math.isfinite(loss) for loss in losses)
        assert losses[-1] < losses[0]
    save_file({n: w.detach().clone().contiguous() for n, w in mine.items()}, tmp_path / "adapter.safetensors")
    again, _ = adapted(real, name, seed=5)
    again.load_state_dict(load_file(tmp_path / "adapter.safetensors"), strict=False)
    torch.testing.assert_close(outputs(real, again), outputs(real, stack), rtol=0, atol=0)
