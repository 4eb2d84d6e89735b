"""Steps of equal size in all directions of a matrix."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field, PositiveInt

from genre.component import component
from genre.optimizers import Group

if TYPE_CHECKING:
    import torch


@component
class Muon:
    """The mean gradient of a matrix made orthogonal, so that rare directions are learned as fast as common ones.

    Vectors and tables are left to AdamW; steps are scaled to the size of AdamW's, so its rates are where to begin. Half
    its memory, and fewer steps in pre-training, but each step costs matrix products of its own, and a model that was
    pre-trained by AdamW may be fine-tuned better by `adamw`: worth a try with ``full`` and large batches.
    Jordan et al. (2024), https://kellerjordan.github.io/posts/muon/; scaled as in Liu et al., Muon is Scalable for LLM
    Training (2025), https://arxiv.org/abs/2502.16982; by torch.
    """

    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.95
    """How much of the mean gradient of a matrix stays in the next step; larger is steadier and slower to turn."""
    ns_steps: Annotated[PositiveInt, Field(lt=100)] = 5
    """Newton-Schulz iterations that make it orthogonal; more come closer to it and cost as many products each."""
    beta1: Annotated[float, Field(ge=0, lt=1)] = 0.9
    """AdamW's, for vectors and tables: how much of the mean gradient stays; larger is steadier."""
    beta2: Annotated[float, Field(ge=0, lt=1)] = 0.999
    """AdamW's, for vectors and tables: how much of the mean squared gradient stays; larger is steadier."""

    def make(self, groups: list[Group]) -> torch.optim.Optimizer:
        import torch

        from genre.optimizing import Together

        matrices = [part for group in groups if (part := _part(group, matrices=True))["params"]]
        rest = [part for group in groups if (part := _part(group, matrices=False))["params"]]
        parts: list[torch.optim.Optimizer] = []
        if matrices:
            scale = "match_rms_adamw"
            muon = torch.optim.Muon(matrices, momentum=self.momentum, ns_steps=self.ns_steps, adjust_lr_fn=scale)
            parts.append(muon)
        if rest:
            parts.append(torch.optim.AdamW(rest, betas=(self.beta1, self.beta2)))
        return Together(parts)


def _part(group: Group, matrices: bool) -> Group:
    """The group's matrices, or its other weights: also those of one row or column, which has one direction."""
    chosen = [p for p in group["params"] if (p.ndim == 2 and min(p.shape) > 1 and not group["table"]) == matrices]
    return {**group, "params": chosen}
