"""Loading HuggingFace encoders as the parts that `genre.backbones` speaks of."""

from __future__ import annotations

import hashlib
from pathlib import Path

from genre.backbones import Loaded
from genre.errors import GenreError


def load_encoder(path: str) -> Loaded:
    """Load an encoder and its tokenizer from a folder or a hub id. Raises `GenreError` where that cannot be done."""
    import torch
    from torch import nn
    from transformers import AutoModel, AutoTokenizer
    from transformers.utils import logging

    logging.disable_progress_bar()
    try:
        tokenizer = AutoTokenizer.from_pretrained(path)
        model = AutoModel.from_pretrained(path, dtype=torch.float32, attn_implementation="sdpa")
    except (OSError, ValueError) as error:
        raise GenreError(f"backbone '{path}': could not be loaded: {str(error).splitlines()[0]}") from error
    layers = getattr(getattr(model, "encoder", None), "layer", None)
    if not isinstance(layers, nn.ModuleList):
        raise GenreError(f"backbone '{path}': {type(model).__name__} has no encoder.layer; use a BERT-class encoder")
    model.requires_grad_(False)
    return Loaded(model, tokenizer, layers, model.config.hidden_size, _revision(path, model))


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
