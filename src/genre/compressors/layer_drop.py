"""Fewer layers."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar, Literal

import numpy as np
from pydantic import PositiveInt

from genre.backbones import Shape
from genre.component import component
from genre.compressors import Form, Material


@component
class LayerDrop:
    """Some of the layers, and no others: time falls with their number.

    What is left has not learned to do without the rest, so let `distill` follow. Against `neuron_prune` and
    `head_prune`, which thin every layer: simpler, and faster for one text at a time.
    Fan et al. (2020), https://arxiv.org/abs/1909.11556.
    """

    gives: ClassVar[Literal["weights", "program", "vectors"]] = "weights"
    keep: PositiveInt = 3
    """Layers that stay; more lose less and take longer."""
    which: Literal["spread", "first"] = "spread"
    """Those that stay lie evenly, with the first and the last among them, or are the lowest."""

    def check(self, shape: Shape) -> Shape:
        if self.keep > shape.depth:
            raise ValueError(f"keeps {self.keep} layers, and there are {shape.depth}; keep fewer")
        return replace(shape, depth=self.keep)

    def compress(self, form: Form, material: Material) -> Form:
        from genre.compression.network import Network
        from genre.errors import GenreError

        network = form.runner
        assert isinstance(network, Network)
        depth = len(network.layers)
        if self.keep > depth:
            raise GenreError(f"layer_drop keeps {self.keep} layers, and there are {depth}; keep fewer")
        last = depth - 1 if self.which == "spread" else self.keep - 1
        kept = np.linspace(0, last, self.keep).astype(int) if self.keep > 1 else np.zeros(1, dtype=int)
        return replace(form, runner=network.copied(tuple(kept.tolist())))
