"""A smaller network learns the vectors that a larger one gives."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from genre.compression.forms import padded
from genre.compression.network import Network
from genre.compressors import Form, Material
from genre.errors import GenreError
from genre.progress import progress


def distilled(form: Form, material: Material, epochs: int, lr: float, batch_size: int, most: int) -> Network:
    """A copy of the form's network, trained to give the vectors of the material's texts."""
    assert isinstance(form.runner, Network)
    rng = np.random.default_rng(material.seed)
    chosen = np.sort(rng.permutation(len(material.texts))[:most])
    tokens = tokens_of(form, [material.texts[int(row)] for row in chosen], material.max_tokens)
    wanted = torch.from_numpy(material.vectors()[chosen])
    network = form.runner.copied().requires_grad_(True)
    pad = form.tokenizer.pad_token_id or 0
    steps = epochs * -(-len(tokens) // batch_size)
    weights = [weight for weight in network.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, total_steps=steps + 1, pct_start=0.1)
    with progress("distil", steps) as advance:
        for _ in range(epochs):
            for rows in batches(tokens, batch_size, rng):
                ids, real = padded([tokens[row] for row in rows], pad)
                mask = None if real.all() else torch.from_numpy(real)
                made = material.pooled(network(torch.from_numpy(ids.astype(np.int64)), mask), mask)
                loss = distance(made, wanted[torch.from_numpy(rows)])
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                nn.utils.clip_grad_norm_(weights, 1.0)
                optimizer.step()
                schedule.step()
                advance(1)
    if not all(bool(torch.isfinite(weight).all()) for weight in weights):
        raise GenreError("distill diverged: its weights are not finite; lower its lr")
    return network.requires_grad_(False).eval()


def tokens_of(form: Form, texts: Sequence[str], longest: int) -> list[list[int]]:
    """Token numbers of some texts, at least one each."""
    found = form.tokenizer(list(texts), truncation=True, max_length=longest)["input_ids"]
    return [one or [form.tokenizer.eos_token_id or 0] for one in found]


def distance(made: Tensor, wanted: Tensor) -> Tensor:
    """Squared distance as a share of the wanted vectors' length; of unit vectors, twice what the cosine lacks."""
    return (made - wanted).square().sum(-1).mean() / wanted.square().sum(-1).mean().clamp(min=1e-12)


def batches(tokens: list[list[int]], size: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Rows in batches of near-equal length, in random order: little is padded, and no two epochs are alike."""
    lengths = np.array([len(one) for one in tokens], dtype=np.float64)
    order = np.argsort(lengths + rng.random(len(tokens)) * 4, kind="stable")
    parts = [order[start : start + size] for start in range(0, len(order), size)]
    return [parts[number] for number in rng.permutation(len(parts))]
