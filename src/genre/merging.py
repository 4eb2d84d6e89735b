"""Folding what an adapter has learned into the language model's own weights, so that it runs without the adapter."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from peft.tuners.tuners_utils import BaseTunerLayer
from torch import nn

from genre.adapterlayers import Bottleneck
from genre.backbones import Loaded
from genre.errors import GenreError
from genre.files import replacing_folder
from genre.huggingface import quiet
from genre.stack import Stack

NOT_WEIGHTS = {
    "prompt": "its learned vectors stand in front of each text and are no weights of the model",
    "prefix": "its learned keys and values stand in front of each text's and are no weights of the model",
    "ladder": "its ladder runs beside the model and is not a part of it",
}
"""Why what stands in these places of a stack cannot be folded in."""


def merge(stack: Stack) -> None:
    """Fold the changes of lora, dora, adalora and ia3 into weights of the stack's own, and leave plain layers.

    Where weights of the model itself were trained there is nothing to fold. Raises `GenreError` for an adapter that
    adds what the model has no place for.
    """
    for place, why in NOT_WEIGHTS.items():
        if getattr(stack, place) is not None:
            raise GenreError(f"this adapter cannot be merged: {why}")
    if any(isinstance(module, Bottleneck) for module in stack.modules()):
        raise GenreError("this adapter cannot be merged: its narrow nets are not linear, so no weight can hold them")
    tuned = {name: module for name, module in stack.named_modules() if isinstance(module, BaseTunerLayer)}
    for name, module in tuned.items():
        stack.set_submodule(name, _folded(module))


def _folded(module: Any) -> nn.Module:
    """The linear map under one of peft's layers, with the change folded into copies of its weights."""
    linear = module.get_base_layer()
    for name, weight in list(linear.named_parameters(recurse=False)):
        setattr(linear, name, nn.Parameter(weight.detach().clone(), requires_grad=False))
    module.eval().merge()
    return linear


def save_merged(loaded: Loaded, stack: Stack, folder: Path) -> None:
    """Merge, and write the whole language model as HuggingFace does: configuration, safetensors and tokenizer.

    ``backbone: {type: huggingface, path: FOLDER}`` reads it, as do other programs. The prefixes of query and passage
    are no part of it. Raises `GenreError` as `merge` does.
    """
    merge(stack)
    whole, layers = _whole(loaded)
    for number, layer in enumerate(stack.layers):
        layers[stack.first + number].load_state_dict(layer.state_dict())
    if stack.norm is not None:
        _beside(whole, layers).norm.load_state_dict(stack.norm.state_dict())
    with quiet(), replacing_folder(folder) as aside:
        whole.save_pretrained(aside)
        loaded.tokenizer.save_pretrained(aside)


def _whole(loaded: Loaded) -> tuple[Any, nn.ModuleList]:
    """The model as it came, read anew so that what others stand on is not changed, and its layers."""
    import torch
    from transformers import AutoModel, AutoModelForCausalLM

    maker: Any = AutoModel if loaded.vocabulary is None else AutoModelForCausalLM
    with quiet():
        whole = maker.from_pretrained(loaded.tokenizer.name_or_path, dtype=torch.float32)
    kind, depth = type(loaded.layers[0]), len(loaded.layers)
    lists = [module for module in whole.modules() if isinstance(module, nn.ModuleList) and len(module) == depth]
    return whole, next(module for module in lists if type(module[0]) is kind)


def _beside(whole: nn.Module, layers: nn.ModuleList) -> Any:
    """The module that holds ``layers``, and the norm after them."""
    return next(module for module in whole.modules() if layers in module.children())
