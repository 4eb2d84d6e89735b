"""Item vectors of one bit a number."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar, Literal

from pydantic import NonNegativeInt

from genre.backbones import Shape
from genre.component import component
from genre.compressors import Form, Material


@component
class BinaryVectors:
    """Of each number of an item vector only its sign, to look through all items; the best are scored again.

    What is looked through is a thirty-second of the vectors, for `two_tower` models of very many items; the eight-bit
    vectors lie beside. Yamada et al. (2021), https://arxiv.org/abs/2106.00882.
    """

    gives: ClassVar[Literal["weights", "program", "vectors"]] = "vectors"
    again: NonNegativeInt = 200
    """Items a person that are scored again; more lose less and take longer."""

    def check(self, shape: Shape) -> Shape:
        return shape

    def compress(self, form: Form, material: Material) -> Form:
        from genre.compression.vectorcoding import coding_of

        return replace(form, coding=replace(coding_of(form.coding), bits=1, again=self.again))
