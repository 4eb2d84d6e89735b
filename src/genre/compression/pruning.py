"""Cutting what a linear map reads least: attention heads and neurons, really taken out of the matrices around them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from genre.compression.distilling import batches, tokens_of
from genre.compression.forms import padded
from genre.compression.network import Network, keep_columns, keep_rows
from genre.compressors import Form, Material

MOST_TEXTS = 512
"""Texts on which it is seen what is used; more change little."""


class _Seen:
    """First and second moments of what a linear map reads, by groups of its inputs."""

    def __init__(self, linear: nn.Linear, size: int) -> None:
        groups = linear.in_features // size
        self.linear, self.size, self.count = linear, size, 0
        self.total = torch.zeros(groups, size, dtype=torch.float64)
        self.products = torch.zeros(groups, size, size, dtype=torch.float64)
        self.real: Tensor | None = None

    def __call__(self, module: nn.Module, inputs: tuple[Any, ...]) -> None:
        read: Tensor = inputs[0] if self.real is None else inputs[0][self.real]
        rows = read.reshape(-1, *self.total.shape)
        self.count += len(rows)
        self.total += rows.sum(0)
        self.products += torch.einsum("ngi,ngj->gij", rows, rows)

    def worth(self) -> Tensor:
        """How far the output moves about its mean because of each group: ``[groups]``."""
        mean = self.total / self.count
        spread = self.products / self.count - mean[:, :, None] * mean[:, None, :]
        weights = self.linear.weight.detach().double().T.reshape(*self.total.shape, -1)
        return torch.einsum("gio,gij,gjo->g", weights, spread, weights)

    def mean_output(self, gone: Tensor) -> Tensor:
        """What the groups that go add to the output on average."""
        weights = self.linear.weight.detach().double().T.reshape(*self.total.shape, -1)
        return torch.einsum("gio,gi->o", weights[gone], self.total[gone] / self.count).float()


def without_heads(form: Form, material: Material, keep: float) -> Network:
    """A copy in which every layer has the given share of its attention heads, at least one."""
    assert isinstance(form.runner, Network)
    network = form.runner.copied()
    size = network.head_size
    kept: list[tuple[dict[str, list[nn.Linear]], _Seen, Tensor]] = []
    layers = [network.parts(number) for number in range(len(network.layers))]
    # Where several query heads share one key head, they go together.
    wide = [parts["query"][0].out_features // parts["key"][0].out_features * size for parts in layers]
    seen = [_Seen(parts["output"][0], width) for parts, width in zip(layers, wide, strict=True)]
    with watched(network, form, material, seen):
        kept = [(parts, one, _best(one.worth(), keep)) for parts, one in zip(layers, seen, strict=True)]
    for (parts, one, groups), width in zip(kept, wide, strict=True):
        _compensate(parts["output"][0], one, groups)
        for name, step in (("query", width), ("key", size), ("value", size)):
            keep_rows(parts[name][0], _places(groups, step))
        keep_columns(parts["output"][0], _places(groups, width))
    return network


def without_neurons(form: Form, material: Material, keep: float) -> Network:
    """A copy in which every layer's feed-forward net has the given share of its neurons, at least one."""
    assert isinstance(form.runner, Network)
    network = form.runner.copied()
    layers = [network.parts(number) for number in range(len(network.layers))]
    seen = [_Seen(parts["down"][0], 1) for parts in layers]
    with watched(network, form, material, seen):
        kept = [_best(one.worth(), keep) for one in seen]
    for parts, one, neurons in zip(layers, seen, kept, strict=True):
        _compensate(parts["down"][0], one, neurons)
        for up in parts["up"]:
            keep_rows(up, neurons)
        keep_columns(parts["down"][0], neurons)
    return network


def _best(worth: Tensor, keep: float) -> Tensor:
    """The groups that matter most, in their order."""
    n = max(1, round(len(worth) * keep))
    return torch.sort(torch.argsort(worth, descending=True, stable=True)[:n]).values


def _places(groups: Tensor, width: int) -> Tensor:
    """Rows that some groups of ``width`` rows have."""
    return (groups[:, None] * width + torch.arange(width)).reshape(-1)


def _compensate(linear: nn.Linear, seen: _Seen, kept: Tensor) -> None:
    """What goes is replaced by its mean, where the map has a bias to hold that."""
    if linear.bias is not None:
        gone = torch.ones(len(seen.total), dtype=torch.bool)
        gone[kept] = False
        linear.bias = nn.Parameter(linear.bias.detach() + seen.mean_output(gone), requires_grad=False)


@contextmanager
def watched(network: Network, form: Form, material: Material, seen: Sequence[_Seen]) -> Iterator[None]:
    """Run some texts through the network, each map's inputs being counted."""
    hooks = [one.linear.register_forward_pre_hook(one) for one in seen]
    rng = np.random.default_rng(material.seed)
    chosen = rng.permutation(len(material.texts))[:MOST_TEXTS]
    tokens = tokens_of(form, [material.texts[int(row)] for row in chosen], material.max_tokens)
    try:
        with torch.no_grad():
            for rows in batches(tokens, 32, rng):
                ids, real = padded([tokens[row] for row in rows], form.tokenizer.pad_token_id or 0)
                for one in seen:
                    one.real = torch.from_numpy(real)
                network.states(ids, real)
    finally:
        for hook in hooks:
            hook.remove()
    yield
