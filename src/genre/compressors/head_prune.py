"""Fewer attention heads."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from genre.backbones import Shape
from genre.component import component
from genre.compressors import Form, Material


@component
class HeadPrune:
    """The attention heads that move the states least on the run's texts are cut out of every layer's matrices.

    What a head adds on average stays, as a bias. Attention is the smaller part of a layer on short texts, so that
    `neuron_prune` saves more there; let `distill` follow. Michel et al. (2019), https://arxiv.org/abs/1905.10650.
    """

    gives: ClassVar[Literal["weights", "program", "vectors"]] = "weights"
    keep: Annotated[float, Field(gt=0, le=1)] = 0.75
    """Share of the heads of each layer that stay; more lose less and take longer."""

    def check(self, shape: Shape) -> Shape:
        return replace(shape, family=f"{shape.family} with heads cut away") if self.keep < 1 else shape

    def compress(self, form: Form, material: Material) -> Form:
        from genre.compression.pruning import without_heads

        return replace(form, runner=without_heads(form, material, self.keep))
