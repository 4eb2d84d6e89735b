"""Fewer words."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar, Literal

from pydantic import NonNegativeInt

from genre.backbones import Shape
from genre.component import component
from genre.compressors import Form, Material


@component
class Vocabulary:
    """Only the words that the run's texts use stay in the table of word vectors, with a reserve.

    For backbones whose table is most of them: of the 118 million weights of multilingual e5_small 96 are its words.
    Texts of the run give the same vectors as before. Single characters and their inner pieces stay, so that any other
    text is still read, in smaller pieces where a word of it is gone. Nothing is faster, but loading.
    """

    gives: ClassVar[Literal["weights", "program", "vectors"]] = "weights"
    reserve: NonNegativeInt = 5000
    """Words kept beyond those in use, the first ones of the tokenizer, which are its most frequent in most families;
    more read new texts better and take more room."""

    def check(self, shape: Shape) -> Shape:
        return shape

    def compress(self, form: Form, material: Material) -> Form:
        import torch

        from genre.compression.network import Network, resize
        from genre.compression.vocabularies import kept_words, smaller

        assert isinstance(form.runner, Network)
        kept = kept_words(form.tokenizer, material.texts, self.reserve)
        kept = kept[kept < form.runner.words.num_embeddings]
        network = form.runner.copied()
        rows = network.words.weight.detach()[torch.from_numpy(kept)].clone()
        resize(network.words, rows.shape)
        network.words.weight.data = rows
        return replace(form, runner=network, tokenizer=smaller(form.tokenizer, kept))
