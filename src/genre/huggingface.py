"""Loading HuggingFace encoders and decoders as the parts that `genre.backbones` speaks of."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterator
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
    causal = _writes(config.get("architectures")) or "rope_parameters" in config or "rope_theta" in config
    return Shape(causal, depth, config.get("model_type", ""), tokenizer if tokenizer.exists() else None)


def load(path: str, reading: Reading | None = None, revision: str | None = None) -> Loaded:
    """Load a model and its tokenizer from a folder or a hub id. Raises `GenreError` where that cannot be done.

    ``revision`` is the hash of weights and tokenizer where that is known; else it is computed.
    """
    from genre.anatomy import anatomy_of

    whole, tokenizer, missing = _read(path)
    writes = _writes(whole.config.architectures)
    output = whole.get_output_embeddings() if writes else None
    vocabulary = None if output is None else output.weight
    model = getattr(whole, "model", whole) if writes else whole
    anatomy = anatomy_of(whole, model, vocabulary)
    if anatomy is None:
        raise GenreError(
            f"backbone '{path}': the layers of {type(model).__name__} cannot be run one by one: it is no BERT-class "
            "encoder (encoder.layer) or Llama-class decoder (layers, norm, rotary positions), or it does more than its "
            "layers do; take another model"
        )
    if lacking := sorted(name for name in missing if "pooler." not in name):
        raise GenreError(f"backbone '{path}': its files lack weights of {lacking[0]} ({len(lacking)} in all)")
    known = revision or _revision(path, whole, tokenizer, missing)
    return Loaded(anatomy, tokenizer, known, vocabulary, reading or Reading())


def _read(path: str) -> tuple[Any, Any, set[str]]:
    """The whole model, its tokenizer, and the names of weights that are random since the files lack them."""
    import torch
    from safetensors import SafetensorError
    from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, AutoTokenizer

    try:
        with quiet():
            tokenizer = AutoTokenizer.from_pretrained(path)
            maker: Any = AutoModelForCausalLM if _writes(AutoConfig.from_pretrained(path).architectures) else AutoModel
            whole, found = maker.from_pretrained(
                path, dtype=torch.float32, attn_implementation="sdpa", use_safetensors=True, output_loading_info=True
            )
    except (OSError, ValueError, KeyError, RuntimeError, ImportError, SafetensorError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0].partition(". ")[0]
        raise GenreError(f"backbone '{path}': could not be loaded: {reason}") from error
    return whole.requires_grad_(False).eval(), tokenizer, set(found["missing_keys"])


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep transformers from reporting what it does: what matters of it is checked here."""
    from transformers.utils import logging

    logging.disable_progress_bar()
    loudness = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(loudness)


def _writes(architectures: list[str] | None) -> bool:
    """Whether a configuration names a decoder with its output layer."""
    return any(name.endswith("ForCausalLM") for name in architectures or [])


def _revision(path: str, model: Any, tokenizer: Any, missing: set[str]) -> str:
    """Hash of the tokenizer's and the weights' bytes, so that equal models are known as such wherever they lie."""
    import torch

    total = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        if name not in missing:
            total.update(name.encode())
            total.update(tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy())
    vocabulary = Path(path) / "tokenizer.json"
    total.update(vocabulary.read_bytes() if vocabulary.exists() else tokenizer.backend_tokenizer.to_str().encode())
    return total.hexdigest()
