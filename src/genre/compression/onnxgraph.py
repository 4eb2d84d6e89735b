"""A network as an ONNX graph."""

from __future__ import annotations

import contextlib
import logging
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from genre.compression.network import Network
from genre.compression.runtimes import needs

OPSET = 17
LOWEST = -1e4
"""Added to what an attention must not see: far below any score, and finite where a row is nothing but padding."""


class _Traced(nn.Module):
    """A network whose mask is always there, so that no length is baked into the graph."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, ids: Tensor, real: Tensor) -> Tensor:
        network = self.network
        states = network.anatomy.embed(ids)
        if network.anatomy.causal:
            of = network.anatomy.inputs(states, real > 0, 0)
        else:
            unseen = ((1.0 - real.to(states.dtype)) * LOWEST)[:, None, None, :]
            of = lambda layer: {"attention_mask": unseen}  # noqa: E731
        for layer in network.layers:
            states = layer(states, **of(layer))
        return states if network.norm is None else network.norm(states)


def export(network: Network, file: Path) -> None:
    """Write a network's graph: ``ids`` and ``real [b, l]`` of int64 to ``states [b, l, hidden]``.

    Raises `GenreError` where a package is missing.
    """
    try:
        import onnx  # noqa: F401
    except ImportError as error:
        raise needs("onnx") from error
    copied = network.copied()
    if not copied.anatomy.causal:
        configs: list[Any] = [module.config for module in copied.layers.modules() if hasattr(module, "config")]
        for config in configs:
            config._attn_implementation = "eager"
    ids = torch.tensor([[1, 2, 3, 1], [2, 1, 0, 0]]) % copied.words.num_embeddings
    real = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]])
    axes = {"ids": {0: "b", 1: "l"}, "real": {0: "b", 1: "l"}, "states": {0: "b", 1: "l"}}
    with hushed(), torch.no_grad():
        torch.onnx.export(
            _Traced(copied),
            (ids, real),
            str(file),
            input_names=["ids", "real"],
            output_names=["states"],
            dynamic_axes=axes,
            opset_version=OPSET,
            dynamo=False,
        )


@contextlib.contextmanager
def hushed() -> Iterator[None]:
    """Without what exporters say of their own doings: tracing warns of each shape that it follows."""
    loud = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(loud)


@contextlib.contextmanager
def graph_of(network: Network) -> Iterator[Path]:
    """A network's graph in a folder that is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="genre-onnx-") as folder:
        file = Path(folder) / "model.onnx"
        export(network, file)
        yield file
