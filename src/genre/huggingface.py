"""Loading HuggingFace encoders and decoders as the parts that `genre.backbones` speaks of."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from genre.backbones import Loaded, Reading, Shape
from genre.errors import GenreError


def shape_of(path: str | Path) -> Shape | None:
    """What the configuration in a folder says; None where there is none, as for a hub id."""
    file = Path(path) / "config.json"
    if not file.exists():
        return None
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
        depth = config["num_hidden_layers"]
    except (ValueError, KeyError):
        return None
    tokenizer = Path(path) / "tokenizer.json"
    causal = _causal(config.get("architectures"))
    return Shape(causal, depth, config.get("model_type", ""), tokenizer if tokenizer.exists() else None)


def load(path: str, reading: Reading | None = None) -> Loaded:
    """Load a model and its tokenizer from a folder or a hub id. Raises `GenreError` where that cannot be done."""
    import torch
    from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging

    from genre.anatomy import Decoder, Encoder

    logging.disable_progress_bar()
    try:
        tokenizer = AutoTokenizer.from_pretrained(path)
        config = AutoConfig.from_pretrained(path)
        causal = _causal(config.architectures)
        maker: Any = AutoModelForCausalLM if causal else AutoModel
        whole = maker.from_pretrained(path, dtype=torch.float32, attn_implementation="sdpa")
    except (OSError, ValueError) as error:
        raise GenreError(f"backbone '{path}': could not be loaded: {str(error).splitlines()[0]}") from error
    whole.requires_grad_(False).eval()
    model = getattr(whole, "model", whole) if causal else whole
    revision = _revision(path, whole)
    if all(hasattr(model, part) for part in ("layers", "norm", "embed_tokens", "rotary_emb")):
        vocabulary = whole.get_output_embeddings().weight if causal else None
        return Loaded(Decoder(model), tokenizer, revision, vocabulary, reading or Reading())
    if hasattr(getattr(model, "encoder", None), "layer") and hasattr(model, "embeddings"):
        return Loaded(Encoder(model), tokenizer, revision, None, reading or Reading())
    raise GenreError(
        f"backbone '{path}': {type(model).__name__} is neither a BERT-class encoder (encoder.layer) nor a Llama-class "
        "decoder (layers, norm, rotary positions); take another model"
    )


def _causal(architectures: list[str] | None) -> bool:
    """Whether a configuration names a decoder with its output layer."""
    return any(name.endswith("ForCausalLM") for name in architectures or [])


def _revision(path: str, model: object) -> str:
    """Hash of the tokenizer's and the weights' bytes, so that equal models are known as such wherever they lie."""
    import torch

    assert isinstance(model, torch.nn.Module)
    total = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        total.update(name.encode())
        total.update(tensor.detach().contiguous().view(torch.uint8).numpy().tobytes())
    vocabulary = Path(path) / "tokenizer.json"
    total.update(vocabulary.read_bytes() if vocabulary.exists() else path.encode())
    return total.hexdigest()
