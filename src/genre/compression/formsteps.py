"""Whether the steps that make a form can follow each other, and be done to a language model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from genre.backbones import Shape
from genre.component import name_of
from genre.compressors import Compressor

WHOLE = "torch"
"""The name of the form that nothing was done to, beside which the others stand."""


def checked(steps: Sequence[Compressor], shape: Shape | None, reads: str) -> None:
    """Raise `ValueError` that says which step cannot be done, and why; without a shape only the order is seen."""
    ended = None
    for step in steps:
        name = name_of(step)
        if step.gives == "vectors" and reads != "items":
            raise ValueError(f"{name} is about item vectors, and only two_tower has any; leave it out")
        if ended is not None and step.gives != "vectors":
            raise ValueError(f"{name} works on weights, and {ended} before it leaves a finished program; put it first")
        if shape is not None:
            try:
                shape = step.check(shape)
            except ValueError as error:
                raise ValueError(f"{name} {error}") from error
        ended = name if step.gives == "program" else ended


def shape_of_network(network: Any) -> Shape:
    """The shape of a language model that is in memory."""
    return Shape(bool(network.anatomy.causal), len(network.layers), network.config.model_type)
