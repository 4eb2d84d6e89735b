"""No layers: a vector for each word."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, ClassVar, Literal

from pydantic import Field, NonNegativeInt, PositiveFloat

from genre.backbones import Shape
from genre.component import component
from genre.compressors import Form, Material


@component
class StaticVectors:
    """A text becomes the mean of fixed vectors of its words: a hundred times faster, and word order is lost.

    The vectors start as what the model makes of each word by itself, frequent words counting less, and are then trained
    until the means are the model's vectors of the run's texts. Where the loss is too large take `layer_drop` and
    `distill`. Model2Vec (https://github.com/MinishLab/model2vec); Arora et al. (2017),
    https://openreview.net/forum?id=SyK00v5xx, for the weights.
    """

    gives: ClassVar[Literal["weights", "program", "vectors"]] = "program"
    epochs: NonNegativeInt = 20
    """Times that all texts are gone through; more come closer to the run's texts; 0 leaves the words as they start."""
    lr: PositiveFloat = 0.3
    """Step size, as a share of what the vectors are long; larger learns faster until it diverges."""
    smooth: Annotated[float, Field(gt=0)] = 1e-3
    """A word of this share of all words counts half; larger lets frequent words count more."""
    half: bool = True
    """Whether the table is kept in 16 bits, which halves it and changes next to nothing."""

    def check(self, shape: Shape) -> Shape:
        return shape

    def compress(self, form: Form, material: Material) -> Form:
        import numpy as np

        from genre.compression.runtimes import StaticRunner
        from genre.compression.wordvectors import word_vectors

        table = word_vectors(form, material, self.epochs, self.lr, self.smooth)
        return replace(form, runner=StaticRunner(table.astype(np.float16 if self.half else np.float32)))
