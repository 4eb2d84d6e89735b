"""ONNX Runtime, in full precision."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar, Literal

from genre.backbones import Shape
from genre.component import component
from genre.compressors import Form, Material


@component
class Onnx:
    """The same numbers by ONNX Runtime: one graph, without Python between its layers.

    The first thing to try, as nothing is lost; reads encoders and decoders. `openvino` does the same, and which of them
    is faster depends on the processor. https://onnxruntime.ai
    """

    gives: ClassVar[Literal["weights", "program", "vectors"]] = "program"

    def check(self, shape: Shape) -> Shape:
        return shape

    def compress(self, form: Form, material: Material) -> Form:
        from genre.compression.onnxgraph import export
        from genre.compression.runtimes import OnnxRunner

        file = material.folder / "model.onnx"
        export(form.runner, file)  # type: ignore[arg-type]
        return replace(form, runner=OnnxRunner(file, form.runner.hidden_size))
