"""OpenVINO, computing in full precision."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar, Literal

from genre.backbones import Shape
from genre.component import component
from genre.compressors import Form, Material


@component
class Openvino:
    """The same numbers by OpenVINO, which was made for processors of Intel's kind.

    Nothing is lost with ``half`` off, and hardly anything with it on. Against `onnx`: faster for one text at a time on
    most Intel processors. https://docs.openvino.ai
    """

    gives: ClassVar[Literal["weights", "program", "vectors"]] = "program"
    half: bool = True
    """Whether weights are kept in 16 bits on disk, which halves the size; they are computed with in 32."""

    def check(self, shape: Shape) -> Shape:
        return shape

    def compress(self, form: Form, material: Material) -> Form:
        from genre.compression.onnxgraph import graph_of, hushed
        from genre.compression.runtimes import OpenVinoRunner, needs

        try:
            import openvino
        except ImportError as error:
            raise needs("openvino") from error
        file = material.folder / "model.xml"
        with graph_of(form.runner) as graph, hushed():  # type: ignore[arg-type]
            openvino.save_model(openvino.convert_model(str(graph)), str(file), compress_to_fp16=self.half)
        return replace(form, runner=OpenVinoRunner(file, form.runner.hidden_size))
