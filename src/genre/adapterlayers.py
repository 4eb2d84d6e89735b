"""Torch code that adapters build from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from peft import (
    AdaLoraConfig,
    PeftConfig,
    PrefixEncoder,
    PrefixTuningConfig,
    PromptEmbedding,
    PromptTuningConfig,
    inject_adapter_in_model,
)
from peft.tuners.adalora.layer import RankAllocator
from torch import Tensor, nn
from torch.nn import functional

from genre.stack import Stack

PEFT_NAME = "default"
"""What peft calls the one adapter that a stack has."""


def inject(stack: Stack, config: PeftConfig) -> None:
    """Put peft's layers in place of those that ``config`` targets; their weights are the ones that are trained."""
    inject_adapter_in_model(config, stack, PEFT_NAME)  # type: ignore[arg-type]


def layerwise(stack: Stack, decay: float) -> Callable[[str], float]:
    """Factor on the learning rate: 1 at the top, times ``decay`` for each layer further down."""
    top = len(stack.layers) - 1

    def rate(name: str) -> float:
        kind, _, rest = name.partition(".")
        return decay ** (top - int(rest.partition(".")[0])) if kind == "layers" else 1.0

    return rate


class Unfreezing:
    """Opens a stack's layers one by one from the top, the last when a share of the steps is done."""

    def __init__(self, stack: Stack, share: float) -> None:
        self.stack, self.share = stack, share
        self.below = len(stack.layers) - 1
        stack.closed = self.below if share else 0

    def after_step(self, step: int, most: int) -> None:
        """See `Tuning.after_step`."""
        until = self.share * most
        self.stack.closed = 0 if step >= until else self.below - int(self.below * step / until)

    def state(self) -> dict[str, Tensor]:
        """See `Tuning.state`."""
        return {"closed": torch.tensor(self.stack.closed)}

    def restore(self, state: dict[str, Tensor]) -> None:
        """See `Tuning.restore`."""
        self.stack.closed = int(state["closed"])


class RankSchedule:
    """Takes rank away from the matrices that use it least, by peft's allocator, on the steps that there really are."""

    def __init__(self, stack: Stack, config: AdaLoraConfig, start: float, end: float) -> None:
        self.stack, self.config, self.start, self.end = stack, config, start, end
        self.allocator = RankAllocator(stack, config, PEFT_NAME)

    def penalty(self) -> Tensor:
        """How far the singular vectors are from orthonormal, weighed; ranks could not be told apart otherwise."""
        far = []
        for name, weight in self.stack.named_parameters():
            if "lora_A" in name or "lora_B" in name:
                products = weight @ weight.T if "lora_A" in name else weight.T @ weight
                far.append(torch.linalg.matrix_norm(products - torch.eye(len(products))))
        return self.config.orth_reg_weight * torch.stack(far).mean()

    def after_step(self, step: int, most: int) -> None:
        """See `Tuning.after_step`."""
        self.config.total_step = most
        self.config.tinit, self.config.tfinal = max(1, round(self.start * most)), round(self.end * most)
        if not self.allocator.exp_avg_ipt:
            # In a training of very few steps the ranks are due before the allocator has looked at any.
            self.allocator.update_ipt(self.stack)
        self.allocator.update_and_allocate(self.stack, step)

    def state(self) -> dict[str, Tensor]:
        """The allocator's moving averages; see `Tuning.state`."""
        held = {"sensitivity": self.allocator.exp_avg_ipt, "uncertainty": self.allocator.exp_avg_unc}
        return {f"{kind}.{name}": tensor for kind, found in held.items() for name, tensor in found.items()}

    def restore(self, state: dict[str, Tensor]) -> None:
        """See `Tuning.restore`."""
        self.allocator.reset_ipt()
        for key, tensor in state.items():
            kind, _, name = key.partition(".")
            averages = self.allocator.exp_avg_ipt if kind == "sensitivity" else self.allocator.exp_avg_unc
            averages[name] = tensor.clone()
            # The allocator starts the averages of a name anew that it does not know from here.
            self.allocator.ipt[name] = torch.zeros_like(tensor)


class Bottleneck(nn.Module):
    """A linear map with a narrow net behind it, which adds to its output: ``[..., n] -> [..., m]``.

    It begins as the map alone.
    """

    def __init__(self, linear: nn.Linear, width: int) -> None:
        super().__init__()
        self.linear = linear
        self.narrow = nn.Linear(linear.out_features, width)
        self.widen = nn.Linear(width, linear.out_features)
        nn.init.zeros_(self.widen.weight)
        nn.init.zeros_(self.widen.bias)

    def forward(self, states: Tensor) -> Tensor:
        states = self.linear(states)
        return states + self.widen(functional.gelu(self.narrow(states)))


class Prompt(nn.Module):
    """Learned vectors: ``() -> [length, hidden]``, at first random, as far from 0 as ``scale``."""

    def __init__(self, length: int, hidden: int, scale: float) -> None:
        super().__init__()
        config = PromptTuningConfig(num_virtual_tokens=length, token_dim=hidden, num_transformer_submodules=1)
        self.vectors = PromptEmbedding(config, None)
        self.vectors.embedding.weight.data.mul_(scale)
        self.length = length

    def forward(self) -> Tensor:
        return self.vectors(torch.arange(self.length))


class Prefix(nn.Module):
    """Learned keys and values for each layer of a stack: ``() -> `` a cache as transformers' layers know it."""

    def __init__(self, stack: Stack, length: int, hidden: int) -> None:
        super().__init__()
        first_key: Any = stack.get_submodule(stack.parts(["key"])[0])
        self.length, self.first, self.layers = length, stack.first, len(stack.layers)
        config = PrefixTuningConfig(
            num_virtual_tokens=length,
            token_dim=first_key.out_features,
            num_layers=self.layers,
            prefix_projection=hidden > 0,
            encoder_hidden_size=hidden,
        )
        self.encoder = PrefixEncoder(config)

    def forward(self) -> PrefixCache:
        learned = self.encoder(torch.arange(self.length))
        return PrefixCache(learned.view(self.length, self.layers, 2, -1), self.first)


class PrefixCache:
    """Puts learned keys and values ``[length, layers, 2, heads * size]`` in front of those of the text."""

    def __init__(self, learned: Tensor, first: int) -> None:
        self.learned, self.first = learned, first

    def update(self, key: Tensor, value: Tensor, layer: int, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """Keys and values ``[b, heads, l, size]`` of a layer, counted from the model's bottom, with the learned."""
        batch, heads, _, size = key.shape
        mine = self.learned[:, layer - self.first].view(-1, 2, heads, size)
        keys, values = mine.permute(1, 2, 0, 3)[:, None].expand(2, batch, -1, -1, -1)
        return torch.cat([keys, key], 2), torch.cat([values, value], 2)


class Ladder(nn.Module):
    """A narrow transformer beside the language model: ``(states [b, l, taps * hidden], real) -> [b, l, hidden]``.

    Each rung takes what came from below and the states of one tap, mixed by a learned gate. It begins as the highest
    tap's states.
    """

    def __init__(self, hidden: int, taps: int, width: int, heads: int, causal: bool) -> None:
        super().__init__()
        self.hidden, self.causal = hidden, causal
        self.enter = nn.ModuleList([nn.Sequential(nn.LayerNorm(hidden), nn.Linear(hidden, width)) for _ in range(taps)])
        self.gates = nn.Parameter(torch.zeros(taps - 1))
        rung = {"dim_feedforward": 4 * width, "dropout": 0.0, "activation": "gelu", "norm_first": True}
        self.rungs = nn.ModuleList(
            [nn.TransformerEncoderLayer(width, heads, batch_first=True, **rung) for _ in range(taps)]
        )
        self.leave = nn.Linear(width, hidden)
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(self.leave.bias)

    def forward(self, states: Tensor, real: Tensor | None) -> Tensor:
        taps, length = states.split(self.hidden, -1), states.shape[1]
        future = torch.ones(length, length, dtype=torch.bool).triu(1) if self.causal else None
        padding = None if real is None else ~real
        side = self.enter[0](taps[0])
        for number, rung in enumerate(self.rungs):
            if number:
                kept = self.gates[number - 1].sigmoid()
                side = kept * side + (1 - kept) * self.enter[number](taps[number])
            side = rung(side, src_mask=future, src_key_padding_mask=padding)
        return taps[-1] + self.leave(side)
