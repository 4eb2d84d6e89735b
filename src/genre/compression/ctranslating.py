"""A BERT-class network as CTranslate2 stores one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from genre.compression.network import Network
from genre.compression.onnxgraph import hushed
from genre.compression.runtimes import needs
from genre.compressors import Form
from genre.errors import GenreError


def convert(form: Form, folder: Path) -> None:
    """Write the files that CTranslate2 reads. Raises `GenreError` for a network that it cannot hold."""
    network = form.runner
    assert isinstance(network, Network)
    config = network.config
    heads = {network.parts(number)["query"][0].out_features for number in range(len(network.layers))}
    if heads != {config.hidden_size} or config.model_type != "bert":
        what = "layers with heads cut away" if config.model_type == "bert" else config.model_type
        raise GenreError(f"ctranslate2 runs whole BERT-class layers, and these are {what}; take dynamic_int8")
    # Its own scaling is done in place.
    network = network.copied()
    with hushed():
        spec = _spec(network, config, network.embeddings)
        spec.register_vocabulary(_names(form.tokenizer, network.words.num_embeddings))
        spec.config.unk_token = form.tokenizer.unk_token
        spec.config.layer_norm_epsilon = config.layer_norm_eps
        spec.validate()
        spec.optimize(quantization="int8")
        spec.save(str(folder))


def _spec(network: Network, config: Any, embeddings: Any) -> Any:
    """The weights in CTranslate2's places, as its own converter of BERT puts them, whatever the layers' widths."""
    try:
        from ctranslate2.converters import utils
        from ctranslate2.converters.transformers import _SUPPORTED_ACTIVATIONS, BertLoader
        from ctranslate2.specs import common_spec, transformer_spec
    except ImportError as error:
        raise needs("ctranslate2") from error
    put: Any = BertLoader()
    encoder: Any = transformer_spec.TransformerEncoderSpec(
        len(network.layers),
        config.num_attention_heads,
        pre_norm=False,
        activation=_SUPPORTED_ACTIVATIONS[config.hidden_act],
        layernorm_embedding=True,
        num_source_embeddings=2,
        embeddings_merge=common_spec.EmbeddingsMerge.ADD,
    )
    encoder.scale_embeddings = False
    put.set_embeddings(encoder.embeddings[0], embeddings.word_embeddings)
    put.set_embeddings(encoder.embeddings[1], embeddings.token_type_embeddings)
    put.set_position_encodings(encoder.position_encodings, embeddings.position_embeddings)
    put.set_layer_norm(encoder.layernorm_embedding, embeddings.LayerNorm)
    for place, layer in zip(encoder.layer, network.layers, strict=True):
        inner: Any = layer
        split = [common_spec.LinearSpec() for _ in range(3)]
        for one, name in zip(split, ("query", "key", "value"), strict=True):
            put.set_linear(one, getattr(inner.attention.self, name))
        utils.fuse_linear(place.self_attention.linear[0], split)
        put.set_linear(place.self_attention.linear[1], inner.attention.output.dense)
        put.set_layer_norm(place.self_attention.layer_norm, inner.attention.output.LayerNorm)
        put.set_linear(place.ffn.linear_0, inner.intermediate.dense)
        put.set_linear(place.ffn.linear_1, inner.output.dense)
        put.set_layer_norm(place.ffn.layer_norm, inner.output.LayerNorm)
    return transformer_spec.TransformerEncoderModelSpec(encoder, pooling_layer=False)


def _names(tokenizer: Any, size: int) -> list[str]:
    """A word for every row of the embeddings: token numbers are what is asked with, so that any words will do."""
    known = {number: word for word, number in tokenizer.get_vocab().items()}
    return [known.get(number, f"<extra_id_{number}>") for number in range(size)]
