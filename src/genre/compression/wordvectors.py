"""A fixed vector for each word of a language model, so that a text's vector is their mean."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from genre.compression.distilling import batches, distance, tokens_of
from genre.compression.forms import padded
from genre.compression.network import Network
from genre.compressors import Form, Material
from genre.progress import progress
from genre.types import Floats

BATCH = 256


def word_vectors(form: Form, material: Material, epochs: int, lr: float, smooth: float) -> Floats:
    """``[words, hidden]``."""
    assert isinstance(form.runner, Network)
    tokens = tokens_of(form, material.texts, material.max_tokens)
    counts = np.bincount(np.concatenate(tokens), minlength=form.runner.words.num_embeddings)
    table = _alone(form.runner, np.flatnonzero(counts))
    table *= (smooth / (smooth + counts / counts.sum()))[:, None].astype(np.float32)
    if epochs:
        used = np.flatnonzero(counts)
        place = np.zeros(len(counts), dtype=np.int64)
        place[used] = np.arange(len(used))
        table[used] = _learned(table[used], [place[one].tolist() for one in tokens], material, epochs, lr)
    return table


def _alone(network: Network, used: NDArray[np.int64]) -> Floats:
    """What the model makes of each word by itself; of words not in use, by what a linear map from word vectors says."""
    words = network.words.weight.detach().numpy()
    made = [
        network.states(ids, np.ones(ids.shape, dtype=bool))
        for ids in (used[start : start + BATCH, None].astype(np.int32) for start in range(0, len(used), BATCH))
    ]
    known = np.concatenate(made)[:, 0]
    given = np.concatenate([words[used], np.ones((len(used), 1), dtype=np.float32)], 1)
    squares = given.T @ given
    ridge = 1e-2 * np.trace(squares) / len(squares) * np.eye(len(squares), dtype=np.float32)
    linear = np.linalg.solve(squares + ridge, given.T @ known)
    table = (words @ linear[:-1] + linear[-1]).astype(np.float32)
    table[used] = known
    return table


def _learned(table: Floats, tokens: list[list[int]], material: Material, epochs: int, lr: float) -> Floats:
    """Vectors of the words in use, trained until the texts' vectors are those of the model."""
    rng, size = np.random.default_rng(material.seed), 64
    weights = torch.nn.Parameter(torch.from_numpy(table))
    # A step has the size of the rate whatever the gradient, so the rate is measured in the vectors' own size.
    optimizer = torch.optim.Adam([weights], lr * float(np.abs(table).mean()))
    wanted = torch.from_numpy(material.vectors())
    steps = epochs * -(-len(tokens) // size)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.05, steps)
    with progress("word vectors", steps) as advance:
        for _ in range(epochs):
            for rows in batches(tokens, size, rng):
                ids, real = padded([tokens[row] for row in rows], 0)
                states = torch.nn.functional.embedding(torch.from_numpy(ids.astype(np.int64)), weights)
                loss = distance(material.pooled(states, torch.from_numpy(real)), wanted[torch.from_numpy(rows)])
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                optimizer.step()
                schedule.step()
                advance(1)
    return weights.detach().numpy()
