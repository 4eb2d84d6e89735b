"""Eight-bit weights; what flows between them is measured as it comes."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar, Literal

from genre.backbones import Shape
from genre.component import component
from genre.compressors import Form, Material


@component
class DynamicInt8:
    """Weights, those of the words too, in eight bits by ONNX Runtime; activations are scaled text by text.

    Needs no texts and takes a quarter of the space. Closer to the model than `static_int8`, a little slower;
    `ctranslate2` is better at both where it reads the model. Decoders and every encoder are read.
    https://onnxruntime.ai/docs/performance/model-optimizations/quantization.html
    """

    gives: ClassVar[Literal["weights", "program", "vectors"]] = "program"
    per_channel: bool = True
    """Whether each output of a matrix has a scale of its own rather than the whole matrix one; nearer to the model."""
    reduce_range: bool = True
    """Whether weights use seven of the eight bits. Processors without VNNI overflow with eight, and then lose more."""

    def check(self, shape: Shape) -> Shape:
        return shape

    def compress(self, form: Form, material: Material) -> Form:
        from genre.compression.onnxgraph import graph_of, hushed
        from genre.compression.runtimes import OnnxRunner, needs

        try:
            from onnxruntime.quantization import QuantType, quantize_dynamic
        except ImportError as error:
            raise needs("onnxruntime") from error
        file = material.folder / "model.onnx"
        with graph_of(form.runner) as graph, hushed():  # type: ignore[arg-type]
            quantize_dynamic(
                graph,
                file,
                per_channel=self.per_channel,
                reduce_range=self.reduce_range,
                weight_type=QuantType.QInt8,
            )
        return replace(form, runner=OnnxRunner(file, form.runner.hidden_size))
