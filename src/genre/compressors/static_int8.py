"""Eight bits throughout, with ranges that were measured on texts of the run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import PositiveInt

from genre.backbones import Shape
from genre.component import component
from genre.compressors import Form, Material


@component
class StaticInt8:
    """Weights and activations in eight bits, the range of each activation fixed beforehand on texts of the run.

    It saves measuring the range of every text, which pays on processors with VNNI, and loses more than `dynamic_int8`
    where a few activations are far larger than the rest, as they are in most language models.
    https://onnxruntime.ai/docs/performance/model-optimizations/quantization.html
    """

    gives: ClassVar[Literal["weights", "program", "vectors"]] = "program"
    texts: PositiveInt = 256
    """Texts that the ranges are measured on; more are steadier and slower to measure."""
    ranges: Literal["minmax", "percentile", "entropy"] = "minmax"
    """Which range is kept: all that was seen; all but the outermost; the one that tells most. The latter two take
    far more memory."""
    per_channel: bool = True
    """Whether each output of a matrix has a scale of its own; nearer to the model."""
    reduce_range: bool = True
    """Whether weights use seven of the eight bits. Processors without VNNI overflow with eight."""

    def check(self, shape: Shape) -> Shape:
        return shape

    def compress(self, form: Form, material: Material) -> Form:
        from genre.compression.onnxgraph import graph_of, hushed
        from genre.compression.runtimes import OnnxRunner, needs

        try:
            from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static
        except ImportError as error:
            raise needs("onnxruntime") from error
        methods = {
            "minmax": CalibrationMethod.MinMax,
            "percentile": CalibrationMethod.Percentile,
            "entropy": CalibrationMethod.Entropy,
        }
        feed: Any = _Feed(self._batches(form, material))
        file = material.folder / "model.onnx"
        with graph_of(form.runner) as graph, hushed():  # type: ignore[arg-type]
            quantize_static(
                graph,
                file,
                feed,
                quant_format=QuantFormat.QDQ,
                op_types_to_quantize=["MatMul", "Gemm", "Gather"],
                per_channel=self.per_channel,
                reduce_range=self.reduce_range,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                calibrate_method=methods[self.ranges],
                # Products of two activations, as in attention, lose too much in eight bits.
                extra_options={"MatMulConstBOnly": True},
            )
        return replace(form, runner=OnnxRunner(file, form.runner.hidden_size))

    def _batches(self, form: Form, material: Material) -> Iterator[dict[str, Any]]:
        """Tokens of some texts drawn at random, each length by itself, so that no padding is measured."""
        drawn = np.random.default_rng(material.seed).permutation(len(material.texts))[: self.texts]
        chosen = [material.texts[row] for row in drawn]
        tokens = form.tokenizer(chosen, truncation=True, max_length=material.max_tokens)["input_ids"]
        lengths = sorted({len(one) for one in tokens if one})
        for length in lengths:
            ids = np.array([one for one in tokens if len(one) == length], dtype=np.int64)
            yield {"ids": ids, "real": np.ones_like(ids)}


class _Feed:
    """Batches as ONNX Runtime asks for them."""

    def __init__(self, batches: Iterator[dict[str, Any]]) -> None:
        self._batches = batches

    def get_next(self) -> dict[str, Any] | None:
        return next(self._batches, None)
