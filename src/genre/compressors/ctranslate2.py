"""CTranslate2: BERT-class encoders with eight-bit weights."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar, Literal

from genre.backbones import Shape
from genre.component import component
from genre.compressors import Form, Material

READS = ("bert",)


@component
class Ctranslate2:
    """An encoder of the BERT family in CTranslate2, a runtime in C++ made for transformers, with eight-bit weights.

    The fastest of the eight-bit forms on processors without VNNI, and the nearest to the model; other families, and
    layers whose heads were pruned, are refused: take `dynamic_int8`. https://opennmt.net/CTranslate2
    """

    gives: ClassVar[Literal["weights", "program", "vectors"]] = "program"

    def check(self, shape: Shape) -> Shape:
        if shape.family not in READS:
            raise ValueError(f"runs {', '.join(READS)} and this is {shape.family}; take dynamic_int8, or openvino")
        return shape

    def compress(self, form: Form, material: Material) -> Form:
        from genre.compression.ctranslating import convert
        from genre.compression.runtimes import CTranslateRunner

        convert(form, material.folder)
        return replace(form, runner=CTranslateRunner(material.folder, form.runner.hidden_size))
