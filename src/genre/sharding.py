"""The language model put where a worker computes: on its accelerator, or in parts over all workers."""

from __future__ import annotations

import torch

from genre.parallel import team
from genre.textencoder import TextEncoder


def put_in_place(text: TextEncoder) -> None:
    """Move the trained layers to this worker's device; where the team asks for it, a part of every weight only.

    Parts are brought together layer by layer, and their gradients divided again: fully sharded data parallel, Zhao et
    al. (2023), https://arxiv.org/abs/2304.11277, by `torch.distributed.fsdp.fully_shard`.
    """
    device = torch.device(team().device)
    if team().shard == "none":
        if device.type != "cpu":
            text.to(device)
        return
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    mesh = init_device_mesh(device.type, (team().size,))
    for layer in text.stack.layers:
        fully_shard(layer, mesh=mesh)
    fully_shard(text.stack, mesh=mesh)
    text.pool.to(device)
