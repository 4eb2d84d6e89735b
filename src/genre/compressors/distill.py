"""Learning to give the vectors that the whole model gave."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar, Literal

from pydantic import PositiveFloat, PositiveInt

from genre.backbones import Shape
from genre.component import component
from genre.compressors import Form, Material


@component
class Distill:
    """All weights of a smaller model are trained until its vectors of the run's texts are those of the model before.

    After `layer_drop`, `head_prune`, `neuron_prune` or `vocabulary`, which leave a model that was not trained as it is
    now. Only what the texts of the run show is learned. Hinton et al. (2015), https://arxiv.org/abs/1503.02531.
    """

    gives: ClassVar[Literal["weights", "program", "vectors"]] = "weights"
    epochs: PositiveInt = 4
    """Times that all texts are gone through; more come closer and take longer."""
    lr: PositiveFloat = 1e-3
    """Step size; larger learns faster until it diverges."""
    batch_size: PositiveInt = 32
    """Texts a step; larger is steadier and takes fewer steps."""
    most: PositiveInt = 20000
    """Texts of the run that are learned from, drawn by the seed; more come closer on what is rare."""

    def check(self, shape: Shape) -> Shape:
        return shape

    def compress(self, form: Form, material: Material) -> Form:
        from genre.compression.distilling import distilled

        network = distilled(form, material, self.epochs, self.lr, self.batch_size, self.most)
        return replace(form, runner=network)
