"""AdamW's step from a number a row and a number a column."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field, PositiveFloat

from genre.component import component
from genre.optimizers import Group

if TYPE_CHECKING:
    import torch


@component
class Adafactor:
    """As `adamw` without momentum, and the usual size of a matrix's gradients kept by row and column alone.

    Its memory is next to nothing, which is what counts with `full` fine-tuning of a large model; with few trained
    weights `adamw` is a little better. The rates are those of `adamw`, unless ``scale_by_weights``.
    Shazeer and Stern (2018), https://arxiv.org/abs/1804.04235; by the transformers library.
    """

    decay: Annotated[float, Field(gt=0, le=1)] = 0.8
    """After ``t`` steps the mean squared gradient moves by ``t ** -decay``; larger settles sooner on a long past."""
    clip_threshold: PositiveFloat = 1.0
    """Longest step of a matrix (root mean square, before the rate); larger lets single batches move it further."""
    scale_by_weights: bool = False
    """Whether a matrix's rate is multiplied by the size of its weights; what starts at zero, as in lora, then stays."""

    def make(self, groups: list[Group]) -> torch.optim.Optimizer:
        from transformers.optimization import Adafactor as Factored

        return Factored(
            groups,
            decay_rate=-self.decay,
            clip_threshold=self.clip_threshold,
            scale_parameter=self.scale_by_weights,
            relative_step=False,
        )
